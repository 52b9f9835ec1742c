import { LRUCache } from 'lru-cache';

/**
 * Points by key: each has `atOnce` of them, and gets `perSecond` back. The keys that were used
 * longest ago are forgotten beyond `keysMax`.
 */
export class Buckets {
  readonly #atOnce: number;
  readonly #perSecond: number;
  readonly #buckets: LRUCache<string, { left: number; at: number }>;

  constructor({ atOnce, perSecond, keysMax }: { atOnce: number; perSecond: number; keysMax: number }) {
    this.#atOnce = atOnce;
    this.#perSecond = perSecond;
    this.#buckets = new LRUCache({ max: keysMax });
  }

  /** Takes a point, and says whether there was one. */
  take(key: string): boolean {
    const left = this.#left(key);
    this.#buckets.set(key, { left: Math.max(0, left - 1), at: performance.now() });
    return left >= 1;
  }

  /** The seconds until the key has a point: 0 if it has one now. */
  waitSeconds(key: string): number {
    return Math.max(0, (1 - this.#left(key)) / this.#perSecond);
  }

  #left(key: string): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return this.#atOnce;
    const refilled = bucket.left + ((performance.now() - bucket.at) / 1_000) * this.#perSecond;
    return Math.min(this.#atOnce, refilled);
  }
}
