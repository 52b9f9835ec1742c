/** Lets a bounded number of callers in at a time, the others in the order in which they came. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `places`: how many hold one at the same time. With 1 it is a mutex. */
  constructor(places: number) {
    this.#free = places;
  }

  /**
   * Resolves when the caller has a place. The caller bounds how many wait, and gives the place back
   * with `release`.
   */
  async acquire(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Gives a place back, to the first caller that waits if there is one. */
  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }

  /** Runs `work` with a place, which is given back however that ends. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}
