import type { SharedChunk } from './store.ts';

/**
 * References to the live chunks that wait for one subscriber, bounded in count and bytes. A
 * subscriber that does not keep up loses all of them at once and reads the store instead. So it
 * costs no more memory and misses no line.
 */
export class LogBuffer {
  #chunks: SharedChunk[] = [];
  #bytes = 0;

  /**
   * Returns false if the buffer was full. Then the buffer is empty, and the subscriber must read
   * the store.
   */
  push(chunk: SharedChunk): boolean {
    if (this.#chunks.length >= CHUNKS_MAX || (this.#bytes + chunk.bytes > BYTES_MAX && this.#chunks.length > 0)) {
      this.clear();
      return false;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.bytes;
    return true;
  }

  /** The first chunk that ends at `number` or later. Drops the chunks before it. */
  peek(number: number): SharedChunk | undefined {
    for (let first = this.#chunks[0]; first && first.lastNumber < number; first = this.#chunks[0]) this.shift();
    return this.#chunks[0];
  }

  shift(): void {
    this.#bytes -= this.#chunks.shift()?.bytes ?? 0;
  }

  clear(): void {
    this.#chunks = [];
    this.#bytes = 0;
  }
}

const CHUNKS_MAX = 64;
const BYTES_MAX = 512 * 1024; // packed, and shared by all subscribers that wait for them
