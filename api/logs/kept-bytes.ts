import { LRUCache } from 'lru-cache';

/** Something that is kept to save work, and may be forgotten at any moment. */
export interface Forgettable {
  forget(): void;
}

/** Bounds what is kept to save work. What was noted longest ago is forgotten first. */
export class KeptBytes {
  readonly #bytesMax: number;
  readonly #kept: LRUCache<Forgettable, number>;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#kept = new LRUCache({
      maxSize: bytesMax,
      dispose: (_, one, reason) => {
        if (reason === 'evict') one.forget();
      },
    });
  }

  /** Notes how many bytes are kept there now. */
  note(one: Forgettable, bytes: number): void {
    if (bytes <= 0) this.#kept.delete(one);
    else this.#kept.set(one, bytes, { size: Math.min(bytes, this.#bytesMax) });
  }
}
