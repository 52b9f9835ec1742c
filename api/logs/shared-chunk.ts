import type { LogChunk } from '../../domain/logs/chunk.ts';
import { unpackedBytes, unpackLines } from '../../domain/logs/packing.ts';

/** A chunk that any number of subscribers hold: its lines are unpacked once for all who come to it in the same while. */
export class SharedChunk {
  readonly firstNumber: number;
  readonly lastNumber: number;
  readonly attempt: number;
  /** As it came: packed. */
  readonly bytes: number;
  readonly textBytes: number;
  readonly #packed: Buffer;
  #lines: WeakRef<Promise<Buffer>> | undefined; // weak: a slow subscriber holds what is packed, not what is unpacked

  constructor({ firstNumber, lastNumber, attempt, lines }: LogChunk) {
    this.firstNumber = firstNumber;
    this.lastNumber = lastNumber;
    this.attempt = attempt;
    this.bytes = lines.length;
    this.textBytes = unpackedBytes(lines);
    this.#packed = lines;
  }

  lines(): Promise<Buffer> {
    const known = this.#lines?.deref();
    if (known) return known;
    const lines = unpackLines(this.#packed);
    this.#lines = new WeakRef(lines);
    return lines;
  }
}
