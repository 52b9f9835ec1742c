import type { Logger } from 'pino';
import { createBackoff } from '../../platform/async/retry.ts';
import { createSignal } from './signal.ts';

/** Takes what waits, one after the other, while there is room. */
export interface Taker {
  /** There may be something to take now. */
  look(): void;
  /** Takes nothing more; resolves when what is being taken just now is taken. */
  close(): Promise<void>;
}

/** An event wakes one worker alone, which may be full: the others find what waits within this time. */
const LOOK_MS = 1_000;
/** What waits is found within seconds when the database is back. */
const BACKOFF_MS_MAX = 3_000;

/** `take` takes one thing, and says whether there may be another one to take now. */
export function createTaker({ log, what, take }: { log: Logger; what: string; take: () => Promise<boolean> }): Taker {
  const stop = new AbortController();
  const wake = createSignal();
  const loop = run();

  async function run(): Promise<void> {
    const backoff = createBackoff({ log, what, maxMs: BACKOFF_MS_MAX });
    let more = false;
    while (!stop.signal.aborted) {
      try {
        if (!more) await wake.next({ timeoutMs: LOOK_MS, signal: stop.signal });
        more = !stop.signal.aborted && (await take());
        backoff.reset();
      } catch (error) {
        await backoff.wait(error, stop.signal);
      }
    }
  }

  return {
    look: wake.notify,
    async close() {
      stop.abort();
      await loop;
    },
  };
}
