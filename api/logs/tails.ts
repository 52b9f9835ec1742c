import type { Batch } from './batch.ts';
import { type Forgettable, KeptBytes } from './kept-bytes.ts';
import { RecentLines } from './recent.ts';
import { type Beginning, Tail } from './tail.ts';

/** The tails of one process, by what their members see. */
export class Tails {
  readonly #byKey = new Map<string, Tail>();
  readonly #leads = new Map<string, Lead>();
  readonly #keptBytes: KeptBytes;

  /** `keptBytesMax` bounds what all of them keep for members that are behind or join. */
  constructor({ keptBytesMax = KEPT_BYTES_MAX } = {}) {
    this.#keptBytes = new KeptBytes(keptBytesMax);
  }

  /** The subscriber that is about to begin a tail with this key. */
  leadOf(key: string): Lead | undefined {
    return this.#leads.get(key);
  }

  /** Notes that a subscriber begins to read by itself. It ends the lead when it joins a tail. */
  lead(key: string): Lead {
    const lead: Lead = new Lead(this.#keptBytes, () => {
      if (this.#leads.get(key) === lead) this.#leads.delete(key);
    });
    this.#leads.set(key, lead);
    return lead;
  }

  /** The tail in which a subscriber that lacks line `next` is served in time. */
  find(key: string, next: number): Tail | undefined {
    const tail = this.#byKey.get(key);
    return tail?.serves(next) ? tail : undefined;
  }

  /** Begins a tail. One with the same key, which does not serve, keeps its members. */
  begin(key: string, source: AsyncGenerator<Batch, void, undefined>, from: Beginning): Tail {
    const onEnd = () => {
      if (this.#byKey.get(key) === tail) this.#byKey.delete(key);
    };
    const tail: Tail = new Tail(source, from, { keptBytes: this.#keptBytes, onEnd });
    this.#byKey.set(key, tail);
    return tail;
  }
}

/** Without this, each of thousands of logs could have some megabytes. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A subscriber that reads by itself and is about to begin a tail. Others who come back to the same
 * log wait for that: each of a thousand would read the same lines. It is over when it stops for
 * LEAD_IDLE_MS, or goes on for LEAD_MS_MAX.
 */
export class Lead implements Forgettable {
  /** What it has read, until it is over. */
  recent: RecentLines | undefined = new RecentLines();
  readonly over: Promise<void>;
  readonly #keptBytes: KeptBytes;
  readonly #onEnd: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #begunAt = performance.now();
  #resolve: () => void = () => undefined;

  constructor(keptBytes: KeptBytes, onEnd: () => void) {
    this.#keptBytes = keptBytes;
    this.#onEnd = onEnd;
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#timer = setTimeout(() => this.end(), LEAD_IDLE_MS).unref();
  }

  add(batch: Batch): void {
    if (!this.recent) return;
    this.recent.add(batch);
    this.#keptBytes.note(this, this.recent.bytes);
    if (performance.now() - this.#begunAt < LEAD_MS_MAX) this.#timer.refresh();
  }

  forget(): void {
    this.recent?.keep(0);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.recent = undefined;
    this.#keptBytes.note(this, 0);
    this.#onEnd();
    this.#resolve();
  }
}

/** So long may a slow reader hold up others, once, and hold what it has read. */
const LEAD_IDLE_MS = 1_000;
const LEAD_MS_MAX = 4_000;
