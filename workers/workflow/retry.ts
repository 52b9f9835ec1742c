import { setTimeout as delay } from 'node:timers/promises';

const WAIT_MS_MIN = 250;
const WAIT_MS_MAX = 5_000;

/**
 * Tries until it succeeds, until an error comes with which it has no patience, or until its patience with that error is over, counted from
 * the first failure; then it rejects with the last error. Rejects with the signal's reason when that aborts.
 */
export async function withRetry<T>(
  attempt: () => Promise<T>,
  {
    patienceMs,
    onRetry,
    signal,
  }: {
    /** 0: such an error is final. */
    patienceMs: (error: unknown) => number;
    onRetry: (error: unknown, waitMs: number) => void;
    signal: AbortSignal;
  },
): Promise<T> {
  let failedAt: number | undefined;
  for (let waitMs = WAIT_MS_MIN; ; waitMs = Math.min(WAIT_MS_MAX, waitMs * 2)) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      failedAt ??= performance.now();
      if (performance.now() + waitMs - failedAt > patienceMs(error)) throw error;
      onRetry(error, waitMs);
      await delay(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}
