interface Waiting {
  key: string;
  count: number;
  begin: () => void;
}

/**
 * Places that many callers share. A caller takes several at once, so that no two wait for each
 * other's. Keys take turns, and none holds more than `perKey`, so that one with many callers leaves
 * places to the others.
 */
export class FairPlaces {
  readonly #perKey: number;
  #free: number;
  readonly #held = new Map<string, number>();
  /** In the order in which the keys are next. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor({ places, perKey }: { places: number; perKey: number }) {
    this.#free = places;
    this.#perKey = perKey;
  }

  /**
   * Waits for `count` places, at most `perKey`. `promise` resolves with the function that gives
   * them back. `cancel` gives them back too, or rejects `promise`. The caller bounds how many wait.
   */
  acquire(key: string, count: number): { promise: Promise<() => void>; cancel: () => void } {
    let state: 'waiting' | 'held' | 'over' = 'waiting';
    let cancel = () => {};
    const promise = new Promise<() => void>((resolve, reject) => {
      const one: Waiting = {
        key,
        count,
        begin: () => {
          state = 'held';
          resolve(cancel);
        },
      };
      cancel = () => {
        if (state === 'waiting') {
          this.#forget(one);
          reject(new Error('Nobody waits for the places any more.'));
        } else if (state === 'held') this.#give(key, -count);
        state = 'over';
        this.#serve();
      };
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), one]);
      this.#serve();
    });
    return { promise, cancel };
  }

  #give(key: string, count: number): void {
    this.#free -= count;
    const held = (this.#held.get(key) ?? 0) + count;
    if (held === 0) this.#held.delete(key);
    else this.#held.set(key, held);
  }

  #forget(one: Waiting): void {
    const left = this.#waiting.get(one.key)?.filter((other) => other !== one) ?? [];
    if (left.length > 0) this.#waiting.set(one.key, left);
    else this.#waiting.delete(one.key);
  }

  /** Gives what is free to the keys in turns. One that must wait for many lets nobody pass. */
  #serve(): void {
    for (let next = this.#next(); next !== undefined && next.count <= this.#free; next = this.#next()) {
      const rest = this.#waiting.get(next.key)?.slice(1) ?? [];
      this.#waiting.delete(next.key);
      if (rest.length > 0) this.#waiting.set(next.key, rest); // behind the others
      this.#give(next.key, next.count);
      next.begin();
    }
  }

  #next(): Waiting | undefined {
    for (const [key, [first]] of this.#waiting)
      if (first !== undefined && (this.#held.get(key) ?? 0) + first.count <= this.#perKey) return first;
    return undefined;
  }
}
