import { type BackoffOptions, createBackoff } from './retry.ts';
import { Signal } from './signal.ts';

export interface RepeatOptions extends BackoffOptions {
  /** From the end of one run to the beginning of the next, unless the run returns another wait. */
  everyMs: number;
  signal: AbortSignal;
  /** Ends the wait early. */
  wake?: Signal;
  /** Whether the first run waits too. */
  waitsFirst?: boolean;
}

/**
 * Calls `run` again and again until `signal` aborts, one call at a time. A long run delays the next
 * one and never overlaps it. A run may resolve with the milliseconds until the next one, where 0
 * means at once. After a failure, the back-off decides. Never rejects. Resolves when the present
 * run has ended.
 */
export async function repeat(options: RepeatOptions, run: () => Promise<unknown>): Promise<void> {
  const { everyMs, signal, wake = new Signal(), waitsFirst = false } = options;
  const backoff = createBackoff(options);
  if (waitsFirst) await wake.wait(signal, everyMs);
  while (!signal.aborted) {
    try {
      const next = await run();
      backoff.reset();
      const waitMs = typeof next === 'number' ? next : everyMs;
      if (waitMs > 0) await wake.wait(signal, waitMs);
    } catch (error) {
      await backoff.wait(error, signal);
    }
  }
}

/** Runs `repeat` in the background until the returned function is called. */
export function startRepeating(
  options: Omit<RepeatOptions, 'signal'>,
  run: () => Promise<unknown>,
): () => Promise<void> {
  const stop = new AbortController();
  const ended = repeat({ ...options, signal: stop.signal }, run);
  return () => {
    stop.abort();
    return ended;
  };
}
