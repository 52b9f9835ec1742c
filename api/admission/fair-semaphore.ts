import { rateLimited } from '../errors.ts';

export interface FairSemaphoreLimits {
  /** How many places there are, and how many one key may hold. */
  places: number;
  perKey: number;
  /** How many callers may wait, and how many of one key. Further ones are refused. */
  waiting: number;
  waitingPerKey: number;
  /**
   * After each turn its place stays empty for as long as the turn took, and at least this long, so
   * that other work gets time.
   */
  restMsMin?: number;
}

interface Waiting {
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * A semaphore that is fair between keys: a waiting key gets a place before another key gets its
 * second, however many callers that one has waiting. The event loop goes around between two turns,
 * so that other work is done.
 */
export class FairSemaphore {
  readonly #limits: FairSemaphoreLimits;
  readonly #running = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting[]>(); // in the order in which the keys are next
  #taken = 0;
  #waitingCount = 0;

  constructor(limits: FairSemaphoreLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves with the function that gives the place back, when the caller has one. Rejects with
   * RATE_LIMITED if too many wait.
   */
  async acquire(key: string): Promise<() => void> {
    const queue = this.#waiting.get(key) ?? [];
    const { places, perKey } = this.#limits;
    if (this.#taken < places && this.#runningOf(key) < perKey && queue.length === 0) this.#begin(key);
    else if (this.isFull(key)) throw tooManyRequests();
    else {
      if (this.#waitingCount >= this.#limits.waiting) this.#refuseLast(this.#longest());
      this.#waitingCount += 1;
      this.#waiting.set(key, queue);
      // Until a place is given back.
      await new Promise<void>((resolve, reject) => queue.push({ resolve, reject }));
    }
    const begun = performance.now();
    let over = false;
    return () => {
      if (!over) this.#leave(key, performance.now() - begun);
      over = true;
    };
  }

  /**
   * Whether one more caller of this key would be refused. When all waiting places are taken, a
   * caller of the key that has most gives way to a key that has fewer.
   */
  isFull(key: string): boolean {
    const { waiting, waitingPerKey } = this.#limits;
    const own = this.#waiting.get(key)?.length ?? 0;
    if (own >= waitingPerKey) return true;
    return this.#waitingCount >= waiting && own + 1 >= this.#longest().length;
  }

  #longest(): Waiting[] {
    let longest: Waiting[] = [];
    for (const queue of this.#waiting.values()) if (queue.length > longest.length) longest = queue;
    return longest;
  }

  #refuseLast(queue: Waiting[]): void {
    const last = queue.pop(); // it has more than one, so others of the key still wait
    if (!last) return;
    this.#waitingCount -= 1;
    last.reject(tooManyRequests());
  }

  #runningOf(key: string): number {
    return this.#running.get(key) ?? 0;
  }

  #begin(key: string): void {
    this.#taken += 1;
    this.#running.set(key, this.#runningOf(key) + 1);
  }

  #leave(key: string, tookMs: number): void {
    const left = this.#runningOf(key) - 1;
    if (left > 0) this.#running.set(key, left);
    else this.#running.delete(key);
    const free = () => {
      this.#taken -= 1;
      this.#serve();
    };
    const { restMsMin } = this.#limits;
    if (restMsMin === undefined) setImmediate(free);
    else setTimeout(free, Math.min(REST_MS_MAX, Math.max(restMsMin, tookMs)));
  }

  #serve(): void {
    for (const [key, queue] of this.#waiting) {
      if (this.#taken >= this.#limits.places) return;
      if (this.#runningOf(key) >= this.#limits.perKey) continue;
      const next = queue.shift();
      this.#waiting.delete(key); // moves to the end
      if (queue.length > 0) this.#waiting.set(key, queue);
      if (!next) continue;
      this.#waitingCount -= 1;
      this.#begin(key);
      next.resolve();
    }
  }
}

const REST_MS_MAX = 500;

export function tooManyRequests(): Error {
  return rateLimited('Too many requests at once: wait for answers, and try again in a moment.', { status: 429 });
}
