/** How much a worker may have in hand. What it cannot take stays in the backlog of the bus. */
export interface Capacity {
  /** Waits until something is free, then takes up to `wanted` of it: how much it took. Rejects when `signal` aborts. */
  take(wanted: number, signal: AbortSignal): Promise<number>;
  release(count: number): void;
  readonly free: number;
  /** Resolves when nothing is taken. */
  idle(): Promise<void>;
}

export function createCapacity(size: number): Capacity {
  let free = size;
  let waiting: (() => void)[] = [];

  function changed(): Promise<void> {
    return new Promise((resolve) => waiting.push(resolve));
  }

  return {
    get free() {
      return free;
    },
    async take(wanted, signal) {
      signal.throwIfAborted();
      if (free === 0) {
        const wakeUp = () => notify();
        signal.addEventListener('abort', wakeUp);
        while (free === 0 && !signal.aborted) await changed();
        signal.removeEventListener('abort', wakeUp);
        signal.throwIfAborted();
      }
      const taken = Math.min(wanted, free);
      free -= taken;
      return taken;
    },
    release(count) {
      if (count === 0) return;
      free += count;
      notify();
    },
    async idle() {
      while (free < size) await changed();
    },
  };

  function notify(): void {
    const woken = waiting;
    waiting = [];
    for (const resolve of woken) resolve();
  }
}
