import { type Batch, batchesOf, SLICES_MAX, type Slice } from './batch.ts';

/**
 * The last lines of a log that were read, for subscribers that are about to need them. They follow
 * each other without a gap. Bounded in chunks and bytes.
 */
export class RecentLines {
  #slices: Slice[] = [];
  #bytes = 0;

  add({ slices }: Batch): void {
    for (const slice of slices) {
      this.#slices.push(slice);
      this.#bytes += slice.chunk.textBytes;
    }
    if (this.#slices.length > RECENT_CHUNKS_MAX + SLICES_MAX || this.#bytes > RECENT_BYTES_MAX)
      this.keep(RECENT_CHUNKS_MAX);
  }

  /** Adds lines that come before these, or before line `next` if there are none, and reach them. */
  precede(earlier: RecentLines, next: number): void {
    const first = this.first ?? next;
    const last = earlier.#slices.at(-1)?.chunk.lastNumber ?? 0;
    if (last + 1 < first) return;
    const before = earlier.#slices.filter(({ from }) => from < first);
    this.#slices = [...before, ...this.#slices];
    this.#bytes += before.reduce((sum, { chunk }) => sum + chunk.textBytes, 0);
    this.keep(RECENT_CHUNKS_MAX);
  }

  /** Forgets all but the last chunks: at most `chunks`, and as many as may be held. */
  keep(chunks: number): void {
    let first = Math.max(0, this.#slices.length - chunks);
    let dropped = 0;
    for (const [n, { chunk }] of this.#slices.entries()) {
      if (n >= first && this.#bytes - dropped <= RECENT_BYTES_MAX) break;
      dropped += chunk.textBytes;
      first = Math.max(first, n + 1);
    }
    this.#slices.splice(0, first);
    this.#bytes -= dropped;
  }

  /** The number of the first of the lines, if there are any. */
  get first(): number | undefined {
    return this.#slices[0]?.from;
  }

  /** The lines from `next` on, as many as a batch may have. Undefined if they are not there. */
  from(next: number): Batch | undefined {
    if (this.first === undefined || next < this.first) return undefined;
    let [low, high] = [0, this.#slices.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#slices[middle]?.chunk.lastNumber ?? next) < next) low = middle + 1;
      else high = middle;
    }
    const chunks = this.#slices.slice(low, low + SLICES_MAX + 1).map(({ chunk }) => chunk);
    return batchesOf(chunks, next).next().value ?? undefined;
  }
}

export const RECENT_CHUNKS_MAX = 8_192;
/** Unpacked. */
const RECENT_BYTES_MAX = 1024 * 1024;
