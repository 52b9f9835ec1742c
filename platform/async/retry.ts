import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { unlessAborted } from './abort.ts';

/** How long to wait after failures in a row, and what to log about an outage. */
export interface BackoffOptions {
  /** The wait after the first failure. It doubles with each further one, up to `maxMs`. */
  minMs?: number | undefined;
  maxMs?: number | undefined;
  /** Where an outage is logged: its first error, and its end. Without it nothing is logged. */
  log?: Logger | undefined;
  /** Completes the sentence "... failed", for example "Queueing due slots". */
  what?: string;
}

export interface Backoff {
  /**
   * Waits before the next try, longer after each failure in a row. Resolves at once when `signal`
   * aborts, and never rejects: the caller's loop checks the signal. Logs only the first error of an
   * outage, and counts the others.
   */
  wait(error: unknown, signal?: AbortSignal): Promise<void>;
  /** Call it after each success. If there was an outage, it ends it, and logs that once. */
  reset(): void;
  /** Failures since the last success. */
  readonly failures: number;
}

export interface RetryOptions extends BackoffOptions {
  signal: AbortSignal;
  /**
   * How long to retry after this error, from the first failure on. 0 makes the error final. Without
   * it, retry goes on until `signal` aborts.
   */
  timeoutMs?: (error: unknown) => number;
  /** The first attempt begins even if `signal` has aborted: work that is over is still recorded. */
  atLeastOnce?: boolean;
  /** Called before each wait, with the longest time that this wait may take. */
  onRetry?: (error: unknown, waitMs: number) => void;
}

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 10_000;
const DOUBLINGS_MAX = 30;

/**
 * Calls `attempt` until it succeeds. Rejects with the signal's reason when the signal aborts, and
 * with the last error when the time for that error is over. No attempt begins after `signal` has
 * aborted.
 */
export async function retry<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
  const { signal, timeoutMs, onRetry, atLeastOnce = false } = options;
  const backoff = createBackoff(options);
  let failedAt: number | undefined;
  for (;;) {
    if (!atLeastOnce || failedAt !== undefined) signal.throwIfAborted();
    try {
      const result = await attempt();
      backoff.reset();
      return result;
    } catch (error) {
      signal.throwIfAborted();
      failedAt ??= performance.now();
      const waitMs = longestWaitMs(backoff.failures + 1, options);
      if (timeoutMs !== undefined && performance.now() + waitMs - failedAt > timeoutMs(error)) throw error;
      onRetry?.(error, waitMs);
      await backoff.wait(error, signal);
    }
  }
}

/**
 * Exponential back-off with jitter, for a loop of a special form. Use `retry` for a call that has
 * to succeed once, and `repeat` for work that runs again and again.
 */
export function createBackoff(options: BackoffOptions): Backoff {
  const { log, what } = options;
  let failures = 0;
  let since = 0;
  let first: unknown;

  return {
    get failures() {
      return failures;
    },

    async wait(error, signal) {
      if (signal?.aborted) return; // a failure during a stop is no outage
      failures += 1;
      if (failures === 1) {
        since = Date.now();
        first = error;
        log?.warn({ err: error }, `${what} failed; it is tried again until it succeeds.`);
      }
      await waitAfter(failures, { ...options, signal });
    },

    reset() {
      if (failures === 0) return;
      log?.info({ failures, outageMs: Date.now() - since, after: first }, `${what} works again.`);
      failures = 0;
    },
  };
}

/**
 * Waits after this many failures in a row, without a log. Resolves at once when `signal` aborts.
 */
export async function waitAfter(
  failures: number,
  { signal, ...bounds }: Pick<BackoffOptions, 'minMs' | 'maxMs'> & { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  // Waits between half and all of it, so that processes that failed together do not return
  // together.
  const waitMs = longestWaitMs(failures, bounds) * (0.5 + Math.random() / 2);
  const waited = delay(waitMs, undefined, { signal });
  await (signal === undefined ? waited : waited.catch(unlessAborted(signal)));
}

function longestWaitMs(
  failures: number,
  { minMs = BACKOFF_MS_MIN, maxMs = BACKOFF_MS_MAX }: Pick<BackoffOptions, 'minMs' | 'maxMs'>,
): number {
  return Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, DOUBLINGS_MAX));
}
