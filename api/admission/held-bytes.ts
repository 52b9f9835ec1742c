import { failure } from '../graphql/errors.ts';

/** How many bytes are held for whom, within a bound for each key. */
export class HeldBytes {
  readonly #max: number;
  readonly #held = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts `bytes` until what is returned is called. Throws RATE_LIMITED where they do not fit. */
  hold(key: string, bytes: number): () => void {
    const held = this.#held.get(key) ?? 0;
    if (held + bytes > this.#max) {
      throw failure(
        'RATE_LIMITED',
        `Your open requests and subscriptions hold ${this.#max} bytes, which is all that they may: end some, or send shorter ones.`,
        { http: { status: 429 } },
      );
    }
    this.#held.set(key, held + bytes);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const left = (this.#held.get(key) ?? 0) - bytes;
      if (left > 0) this.#held.set(key, left);
      else this.#held.delete(key);
    };
  }
}
