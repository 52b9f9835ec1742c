/** A call that ends a wait. One that comes while nobody waits is remembered, so that the next wait ends at once. */
export interface Signal {
  notify(): void;
  /** Resolves at the next call, after `timeoutMs`, or when `signal` aborts. */
  next(options: { timeoutMs: number; signal: AbortSignal }): Promise<void>;
}

export function createSignal(): Signal {
  let pending = false;
  let resolveWait: (() => void) | undefined;
  return {
    notify() {
      pending = true;
      resolveWait?.();
    },
    async next({ timeoutMs, signal }) {
      if (!pending && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const end = (): void => {
            clearTimeout(timer);
            signal.removeEventListener('abort', end);
            resolveWait = undefined;
            resolve();
          };
          const timer = setTimeout(end, timeoutMs);
          signal.addEventListener('abort', end);
          resolveWait = end;
        });
      }
      pending = false;
    },
  };
}
