import type { SharedChunk } from './store.ts';

/**
 * Live chunks that wait for one subscriber: references, within bounds. A subscriber that does not
 * keep up loses all of them at once and reads the store instead, so that it costs no more and
 * misses nothing.
 */
export class LogBuffer {
  #chunks: SharedChunk[] = [];
  #bytes = 0;

  /** False where the buffer was full. It is empty now, and the subscriber has to read the store. */
  push(chunk: SharedChunk): boolean {
    if (this.#chunks.length >= CHUNKS_MAX || (this.#bytes + chunk.bytes > BYTES_MAX && this.#chunks.length > 0)) {
      this.clear();
      return false;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.bytes;
    return true;
  }

  /** The first chunk that ends at `number` or later. Those before it are dropped. */
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
