/**
 * For `catch`: a rejection after `signal` has aborted counts as stopped, and gives undefined. Other
 * errors are thrown again.
 */
export function unlessAborted(signal: AbortSignal): (error: unknown) => undefined {
  return (error) => {
    if (!signal.aborted) throw error;
    return undefined;
  };
}

/**
 * A signal that aborts when all of `signals` have, because then no caller wants the work. If
 * `signals` is empty, it has already aborted.
 */
export function allAborted(signals: AbortSignal[]): AbortSignal {
  const all = new AbortController();
  let left = signals.length;
  const count = (): void => {
    left -= 1;
    if (left <= 0) all.abort();
  };
  for (const signal of signals) {
    if (signal.aborted) count();
    else signal.addEventListener('abort', count, { once: true });
  }
  if (signals.length === 0) all.abort();
  return all.signal;
}
