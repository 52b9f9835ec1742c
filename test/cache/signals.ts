import { expect } from 'vitest';

const DEADLINE_MS = 20_000;

/** Collects signals, and lets a test wait for more. */
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
