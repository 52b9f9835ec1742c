/**
 * Gathers items while earlier sets are being written. A lone item is written at once. Items that
 * come within a few milliseconds of each other go together. `write` must not reject (it retries by
 * itself).
 */
export interface Batcher<T> {
  add(item: T): void;
  /** Resolves when everything that was added has been written. */
  drained(): Promise<void>;
}

export function createBatcher<T>({
  sizeMax,
  inFlightMax,
  write,
}: {
  sizeMax: number;
  inFlightMax: number;
  write: (items: T[]) => Promise<void>;
}): Batcher<T> {
  let items: T[] = [];
  let inFlight = 0;
  let scheduled = false;
  let onDrained: (() => void)[] = [];

  function schedule(): void {
    if (scheduled || inFlight >= inFlightMax) return;
    scheduled = true;
    setImmediate(start); // after the other work in this turn of the event loop
  }

  function start(): void {
    scheduled = false;
    if (items.length === 0 || inFlight >= inFlightMax) return;
    const set = items.slice(0, sizeMax);
    items = items.slice(sizeMax);
    inFlight += 1;
    void write(set).finally(finish);
    if (items.length > 0) schedule();
  }

  function finish(): void {
    inFlight -= 1;
    if (items.length > 0) schedule();
    else if (inFlight === 0) {
      for (const resolve of onDrained) resolve();
      onDrained = [];
    }
  }

  return {
    add(item) {
      items.push(item);
      schedule();
    },
    drained() {
      if (items.length === 0 && inFlight === 0) return Promise.resolve();
      return new Promise((resolve) => onDrained.push(resolve));
    },
  };
}
