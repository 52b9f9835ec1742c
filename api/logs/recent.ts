import type { Frame } from '../live/frame.ts';
import { type Batch, batchesOf, SLICES_MAX, type Slice } from './batch.ts';

/**
 * The last lines of a log that were read, for subscribers that are about to need them. They follow
 * each other without a gap. Bounded in bytes.
 */
export class RecentLines {
  #slices: Slice[] = [];
  #bytes = 0;

  add({ slices }: Batch): void {
    for (const slice of slices) {
      this.#slices.push(slice);
      this.#bytes += bytesOf(slice);
    }
    this.keep(this.#slices.length);
  }

  /** Adds lines that come before these, or before line `next` if there are none, and reach them. */
  precede(earlier: RecentLines, next: number): void {
    const first = this.first ?? next;
    const last = earlier.#slices.at(-1)?.chunk.lastNumber ?? 0;
    if (last + 1 < first) return;
    const before = earlier.#slices.filter(({ from }) => from < first);
    this.#slices = [...before, ...this.#slices];
    this.#bytes += before.reduce((sum, slice) => sum + bytesOf(slice), 0);
    this.keep(this.#slices.length);
  }

  /** Forgets all but the last chunks: at most `chunks`, and as many as may be held. */
  keep(chunks: number): void {
    let dropped = 0;
    for (const slice of this.#slices) {
      if (this.#slices.length - dropped <= chunks && this.#bytes <= RECENT_BYTES_MAX) break;
      this.#bytes -= bytesOf(slice);
      dropped += 1;
    }
    this.#slices.splice(0, dropped);
  }

  /** About how much memory they take. */
  get bytes(): number {
    return this.#bytes;
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

/** The lines of some minutes at 100 lines a second. */
export const RECENT_BYTES_MAX = 4 * 1024 * 1024;
/** What a chunk takes besides its packed bytes. Of a log that is followed, most have few lines. */
const CHUNK_BYTES = 400;

function bytesOf({ chunk }: Slice): number {
  return chunk.bytes + CHUNK_BYTES;
}

/** Lines, and the frame that is made of them: undefined if they have nothing to show. */
export interface Made {
  batch: Batch;
  frame: Promise<Frame | undefined>;
}

/** Frames of recent lines, for others who join at the same places. Bounded in count and bytes. */
export class RecentFrames {
  readonly #byPlace = new Map<number, Made & { bytes: number }>();

  /** The frame of the lines from `next` on. If there is none, `make` begins one. */
  at(next: number, make: () => Made | undefined): Made | undefined {
    const known = this.#byPlace.get(next);
    if (known) return known;
    const made = make();
    if (!made || this.#byPlace.size >= FRAMES_MAX || this.bytes > FRAMES_BYTES_MAX) return made;
    const kept = { ...made, bytes: 0 };
    this.#byPlace.set(next, kept);
    const forget = () => {
      if (this.#byPlace.get(next) === kept) this.#byPlace.delete(next);
    };
    made.frame.then((frame) => {
      if (frame?.hasErrors) forget();
      else kept.bytes = frame?.json.length ?? 0;
    }, forget);
    return made;
  }

  /** Forgets the frames of such lines. */
  forget(isOld: (batch: Batch) => boolean = () => true): void {
    for (const [place, { batch }] of this.#byPlace) if (isOld(batch)) this.#byPlace.delete(place);
  }

  get bytes(): number {
    return [...this.#byPlace.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

const FRAMES_MAX = 64;
const FRAMES_BYTES_MAX = 4 * 1024 * 1024;
