import { expect } from 'vitest';

const DEADLINE_MS = 20_000;

/** What was signalled so far, and a way to wait for more. */
export function signals() {
  const all: string[] = [];
  return {
    all,
    add(signal: string): void {
      all.push(signal);
    },
    async until(done: (all: string[]) => boolean): Promise<void> {
      await expect.poll(() => done(all), { timeout: DEADLINE_MS, interval: 5, message: `so far: ${all}` }).toBe(true);
    },
  };
}
