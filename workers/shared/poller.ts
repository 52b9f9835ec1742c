import type { Logger } from 'pino';
import { startRepeating } from '../../platform/async/repeat.ts';
import { Signal } from '../../platform/async/signal.ts';

/** Takes what waits, one after the other, while there is room. */
export interface Poller {
  /** There may be something to take now. */
  poll(): void;
  /** Takes nothing more. Resolves when the call that is under way has ended. */
  close(): Promise<void>;
}

/**
 * An event wakes one worker alone, which may be full: the others find what waits within this time.
 */
const POLL_MS = 1_000;
/** What waits is found within seconds after an outage of the database. */
const BACKOFF_MS_MAX = 3_000;

/** `take` takes one thing, and says whether there may be another one to take now. */
export function createPoller({ log, what, take }: { log: Logger; what: string; take: () => Promise<boolean> }): Poller {
  const wake = new Signal();
  const close = startRepeating(
    { log, what, wake, everyMs: POLL_MS, maxMs: BACKOFF_MS_MAX, waitsFirst: true },
    async () => ((await take()) ? 0 : POLL_MS),
  );
  return { poll: wake.notify, close };
}
