import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';

export interface Backoff {
  /**
   * Waits before the next try, longer after each failure in a row. Resolves at once when `signal` aborts, and never rejects: the
   * caller's loop asks the signal. The first error of an outage is logged, the ones that follow are only counted.
   */
  wait(error: unknown, signal?: AbortSignal): Promise<void>;
  /** To be called after each success: ends the outage, if there was one, and says so once. */
  reset(): void;
  /** Failures since the last success. */
  readonly failures: number;
}

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 10_000;

/**
 * Exponential back-off with jitter for one loop that must not end. `what` completes the sentence "... failed", for example
 * "Queueing due slots".
 */
export function createBackoff({
  minMs = BACKOFF_MS_MIN,
  maxMs = BACKOFF_MS_MAX,
  log,
  what,
}: {
  minMs?: number;
  maxMs?: number;
  log: Logger;
  what: string;
}): Backoff {
  let failures = 0;
  let since = 0;

  return {
    get failures() {
      return failures;
    },

    async wait(error, signal) {
      if (signal?.aborted) return; // what fails while we stop is no outage
      failures += 1;
      if (failures === 1) {
        since = Date.now();
        log.warn({ err: error }, `${what} failed; it is tried again until it succeeds.`);
      }
      await waitAfter(failures, { minMs, maxMs, signal });
    },

    reset() {
      if (failures === 0) return;
      log.info({ failures, outageMs: Date.now() - since }, `${what} works again.`);
      failures = 0;
    },
  };
}

/** The wait after so many failures in a row, without the log. Resolves at once when `signal` aborts. */
export async function waitAfter(
  failures: number,
  {
    minMs = BACKOFF_MS_MIN,
    maxMs = BACKOFF_MS_MAX,
    signal,
  }: { minMs?: number; maxMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<void> {
  try {
    await delay(delayMs(failures, minMs, maxMs), undefined, { signal });
  } catch (aborted) {
    if (!signal?.aborted) throw aborted;
  }
}

/** Between half and all of `minMs` doubled with each failure, so that processes that failed together do not return together. */
function delayMs(failures: number, minMs: number, maxMs: number): number {
  const fullMs = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
  return fullMs * (0.5 + Math.random() / 2);
}
