/**
 * Lets a bounded number of callers in at a time. The others wait in the order in which they came.
 */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** `places`: how many callers may hold one at the same time. With 1, it is a mutex. */
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

  /** Gives a place back. The first waiting caller gets it, if there is one. */
  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }

  /** Runs `work` with a place, and gives the place back however `work` ends. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}
