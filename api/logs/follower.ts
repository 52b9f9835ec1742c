import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogMarker } from '../../domain/logs/chunk.ts';
import { waitAfter } from '../../platform/async/retry.ts';
import { Signal } from '../../platform/async/signal.ts';
import { type Batch, batchesOf } from './batch.ts';
import { LogBuffer } from './buffer.ts';
import type { SharedChunk } from './store.ts';

/** The end of a log: the number of the last line by the row of the job or build, and its time. */
export interface End {
  /** A lower bound: the store may have more lines. */
  lastNumber: number;
  at: Date;
}

interface Store {
  /**
   * Undefined while the store is away. The store logs the outage; the follower retries silently.
   */
  read(after: number, count: number): Promise<SharedChunk[] | undefined>;
  /**
   * The time by the database's clock, which also dates ends; the clock of this process may be hours
   * ahead. Undefined while the store is away.
   */
  now(): Promise<Date | undefined>;
}

/**
 * One subscriber to a log, with its position. It reads the stored lines behind that position, then
 * continues with live chunks. It returns to the store whenever a live chunk does not follow on its
 * position. The client pulls: a chunk is unpacked only when the client reaches it.
 */
export class LogFollower {
  readonly #store: Store;
  readonly #onIdle: (() => void) | undefined;
  readonly #buffer = new LogBuffer();
  readonly #wake = new Signal();
  #next: number;
  #reading = true;
  #chunksPerRead = CHUNKS_PER_READ_MIN;
  #emptyReads = 0;
  #isLost = false; // the missing lines will not come
  #readSinceEnd = false; // the last read found no more lines
  #epoch = 0;
  #failedReads = 0;
  #end: End | undefined;

  /** `onIdle` is called whenever all lines so far are delivered. It may end the follower. */
  constructor(after: number, store: Store, onIdle?: () => void) {
    this.#next = after + 1;
    this.#store = store;
    this.#onIdle = onIdle;
  }

  /**
   * Takes a live chunk. If a newer epoch has begun, a chunk of an older one may come from a worker
   * that was frozen: only the store knows whether it counts.
   */
  push(chunk: SharedChunk): void {
    this.isAt(chunk.epoch);
    if (chunk.lastNumber < this.#next) return;
    if (chunk.epoch < this.#epoch || !this.#buffer.push(chunk)) this.#reading = true;
    this.#wake.notify();
  }

  /** Sends the follower to the store: it may have missed live chunks. */
  readStore(): void {
    this.#reading = true;
    this.#wake.notify();
  }

  /** Notes that the line of this number is stored. */
  isStored(number: number): void {
    if (number >= this.#next && this.#buffer.peek(this.#next) === undefined) this.readStore();
  }

  /**
   * Takes a marker from the bus. Chunks of earlier epochs that follow it do not count. The marker
   * may arrive before the change of the row does.
   */
  reached(marker: LogMarker): void {
    this.isAt(marker.kind === 'attempt-marker' ? marker.epoch : Number.POSITIVE_INFINITY);
  }

  /** Notes that the job or build has reached this epoch. */
  isAt(epoch: number): void {
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  ended(end: End): void {
    if (this.#end?.lastNumber === end.lastNumber) return;
    this.#end = end;
    this.#emptyReads = 0; // an earlier read says nothing about lines stored since
    this.#isLost = false;
    this.#wake.notify();
  }

  /**
   * After `batches` has ended by itself: the first line that it did not reach, if the end of the
   * log lies behind that line.
   */
  get missing(): { number: number; end: End } | undefined {
    return this.#end === undefined || this.#isAtEnd() ? undefined : { number: this.#next, end: this.#end };
  }

  async *batches(signal: AbortSignal): AsyncGenerator<Batch, void, undefined> {
    while (!signal.aborted && !this.#isComplete()) {
      if (this.#isAtEnd()) this.#reading = true;
      const live = this.#isAtEnd() ? [] : this.#fromBuffer();
      // Nothing is missing before these chunks, and the store may be away.
      if (live.length > 0) this.#reading = false;
      const chunks = this.#reading ? await this.#fromStore(signal) : live;
      if (chunks.length > 0) {
        this.#emptyReads = 0;
        for (const batch of batchesOf(chunks, this.#next)) {
          this.#next = batch.lastNumber + 1;
          yield batch;
        }
        // A gap lies before the first of the remaining chunks.
        if (chunks.some((chunk) => chunk.lastNumber >= this.#next)) this.#reading = true;
        continue;
      }
      if (this.#reading || this.#isComplete()) continue;
      const gap = this.#buffer.peek(this.#next) !== undefined;
      if (!gap && !this.#end) {
        this.#onIdle?.();
        await this.#wake.wait(signal);
      } else await this.#lookAgain(signal, gap); // the missing chunk is on its way to the store
    }
  }

  #isAtEnd(): boolean {
    return this.#end !== undefined && this.#next > this.#end.lastNumber;
  }

  #isComplete(): boolean {
    if (!this.#end) return false;
    if (this.#isAtEnd()) return this.#readSinceEnd;
    return this.#isLost;
  }

  async #fromStore(signal: AbortSignal): Promise<SharedChunk[]> {
    this.#reading = false; // set before the query: a notice during it sets it again
    const end = this.#end;
    const chunks = await this.#readOrWait(signal);
    if (!chunks) return [];
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
    const follows = chunks.filter((chunk) => chunk.lastNumber >= this.#next);
    const first = follows[0];
    if (!first || first.firstNumber > this.#next) {
      this.#emptyReads += 1;
      this.#readSinceEnd = end !== undefined;
      if (end !== undefined && !this.#isAtEnd()) await this.#giveUpLate(end);
      return [];
    }
    this.#reading = true; // there may be more
    if (bytes > READ_BYTES_AIM) this.#chunksPerRead = Math.max(CHUNKS_PER_READ_MIN, this.#chunksPerRead >> 1);
    else if (chunks.length === this.#chunksPerRead)
      this.#chunksPerRead = Math.min(CHUNKS_PER_READ_MAX, this.#chunksPerRead * 2);
    return follows;
  }

  /** A line that is not stored an hour (LATE_LINES_MS) after the end of its log will not come. */
  async #giveUpLate(end: End): Promise<void> {
    // This check is cheap and nearly always enough. Otherwise the database's clock decides.
    if (Date.now() - end.at.getTime() <= LATE_LINES_MS) return;
    const now = await this.#store.now();
    if (now === undefined || this.#end !== end) return;
    this.#isLost = now.getTime() - end.at.getTime() > LATE_LINES_MS;
  }

  /**
   * An outage of the store ends no subscription: this waits, gives undefined, and the caller reads
   * again.
   */
  async #readOrWait(signal: AbortSignal): Promise<SharedChunk[] | undefined> {
    const chunks = await this.#store.read(this.#next - 1, this.#chunksPerRead);
    this.#failedReads = chunks ? 0 : this.#failedReads + 1;
    if (chunks) return chunks;
    this.#reading = true;
    await waitAfter(this.#failedReads, { maxMs: LOOK_AGAIN_MS_MAX, signal });
    return undefined;
  }

  #fromBuffer(): SharedChunk[] {
    const chunk = this.#buffer.peek(this.#next);
    if (!chunk || chunk.firstNumber > this.#next) return [];
    const chunks: SharedChunk[] = [];
    let next = this.#next;
    for (
      let following: SharedChunk | undefined = chunk;
      following && following.firstNumber <= next;
      following = this.#buffer.peek(next)
    ) {
      chunks.push(following);
      next = following.lastNumber + 1;
      this.#buffer.shift();
    }
    return chunks;
  }

  /** Waits longer each time that the store still lacks the line. */
  async #lookAgain(signal: AbortSignal, gap: boolean): Promise<void> {
    const backoffMs = Math.min(LOOK_AGAIN_MS_MAX, LOOK_AGAIN_MS_MIN * 2 ** Math.min(this.#emptyReads, 10));
    const wake = gap ? new Signal() : this.#wake; // behind a gap, every chunk would wake it
    await wake.wait(signal, backoffMs);
    const first = this.#buffer.peek(this.#next);
    if (!first || first.firstNumber > this.#next) this.#reading = true;
  }
}

const CHUNKS_PER_READ_MIN = 8;
const CHUNKS_PER_READ_MAX = 512;
const READ_BYTES_AIM = CHUNK_BYTES_MAX; // packed
const LOOK_AGAIN_MS_MIN = 5;
const LOOK_AGAIN_MS_MAX = 1_000;
const LATE_LINES_MS = 3_600_000;
