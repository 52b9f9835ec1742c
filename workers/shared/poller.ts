import type { Logger } from 'pino';
import { startRepeating } from '../../platform/async/repeat.ts';
import { Signal } from '../../platform/async/signal.ts';

/** Takes waiting work, one item after the other, while there is room. */
export interface Poller {
  /** Call it when there may be something to take. */
  poll(): void;
  /** Stops taking. Resolves when the call that is under way has ended. */
  close(): Promise<void>;
}

/** An event wakes only one worker, which may be full. The others find the work within this time. */
const POLL_MS = 1_000;
/** The longest wait between tries: work is found within seconds after a database outage. */
const BACKOFF_MS_MAX = 3_000;

/** `take` takes one item, and returns whether there may be another one to take now. */
export function createPoller({ log, what, take }: { log: Logger; what: string; take: () => Promise<boolean> }): Poller {
  const wake = new Signal();
  const close = startRepeating(
    { log, what, wake, everyMs: POLL_MS, maxMs: BACKOFF_MS_MAX, waitsFirst: true },
    async () => ((await take()) ? 0 : POLL_MS),
  );
  return { poll: wake.notify, close };
}
