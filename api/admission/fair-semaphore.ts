import { failure } from '../errors.ts';

export interface TurnLimits {
  /** How many have a turn at the same time, and how many of one key. */
  atOnce: number;
  perKey: number;
  /** How many wait for theirs, and how many of one key. Further ones are refused. */
  waiting: number;
  waitingPerKey: number;
  /** A place stays free for as long as the last turn took, and so long at least: what others wait for is done meanwhile. */
  restMsMin?: number;
}

interface Waiting {
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Turns for who asks: a key that waits gets one before another key gets its second, however many that one has waiting. Between two turns the
 * event loop goes round, so that what others wait for is done.
 */
export class FairTurns {
  readonly #limits: TurnLimits;
  readonly #running = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting[]>(); // in the order in which the keys have their next turn
  #taken = 0;
  #waitingCount = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /** Resolves when it is the caller's turn, with what ends it. Rejects with RATE_LIMITED where too many wait. */
  async take(key: string): Promise<() => void> {
    const queue = this.#waiting.get(key) ?? [];
    const { atOnce, perKey } = this.#limits;
    if (this.#taken < atOnce && this.#runningOf(key) < perKey && queue.length === 0) this.#begin(key);
    else if (this.isFull(key)) throw tooManyRequests();
    else {
      if (this.#waitingCount >= this.#limits.waiting) this.#refuseLast(this.#longest());
      this.#waitingCount += 1;
      this.#waiting.set(key, queue);
      await new Promise<void>((resolve, reject) => queue.push({ resolve, reject })); // when another turn ends
    }
    const begun = performance.now();
    let over = false;
    return () => {
      if (!over) this.#leave(key, performance.now() - begun);
      over = true;
    };
  }

  /** Whether one more of this key would be refused. Where all places are taken, one of the key that has most gives way to a key that has fewer. */
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
    const last = queue.pop(); // others of the key still wait: it has more than one
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
      if (this.#taken >= this.#limits.atOnce) return;
      if (this.#runningOf(key) >= this.#limits.perKey) continue;
      const next = queue.shift();
      this.#waiting.delete(key); // to the end of the row
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
  return failure('RATE_LIMITED', 'Too many requests at once: wait for answers, and try again in a moment.', {
    retryAfterSeconds: 1,
    http: { status: 429, headers: { 'retry-after': '1' } },
  });
}
