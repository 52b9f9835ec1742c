import type { Logger } from 'pino';

/**
 * Gets a row as it is read, or undefined if it no longer exists. It may get the same row again, but
 * never an older one after a newer one.
 */
export type Listener<Row> = (row: Row | undefined) => void;

interface Identified {
  id: string;
  userId: string;
}

/**
 * The watched rows of one table. Each is read once for all watchers; rows that change together are
 * read by one query, one query at a time.
 */
export class WatchedRows<Row extends Identified> {
  readonly #byId = new Map<string, Set<Listener<Row>>>();
  readonly #byUser = new Map<string, Set<Listener<Row>>>();
  readonly #changed = new Set<string>();
  readonly #read: (ids: string[]) => Promise<Row[]>;
  readonly #log: Logger;
  readonly #onMissing: (ids: string[]) => void;
  #reading = false;

  /** `onMissing` gets the ids of changed rows that no longer exist. */
  constructor(
    read: (ids: string[]) => Promise<Row[]>,
    log: Logger,
    onMissing: (ids: string[]) => void = () => undefined,
  ) {
    this.#read = read;
    this.#log = log;
    this.#onMissing = onMissing;
  }

  /** Watches one row. The caller has checked that the subscriber may see it. */
  watch(id: string, listener: Listener<Row>): () => void {
    return addTo(this.#byId, id, listener);
  }

  /** Watches every row of a user that a hint names. */
  watchUser(userId: string, listener: Listener<Row>): () => void {
    return addTo(this.#byUser, userId, listener);
  }

  /** Says that these rows of a user changed. They are read if they are watched. */
  hint(userId: string, ids: string[]): void {
    const all = this.#byUser.has(userId);
    for (const id of ids) if ((all || this.#byId.has(id)) && this.#changed.size < CHANGED_MAX) this.#changed.add(id);
    this.#readChanged();
  }

  /** Reads every row that is watched by its id, because hints can get lost. */
  recheck(): void {
    for (const id of this.#byId.keys()) this.#changed.add(id);
    this.#readChanged();
  }

  /** Delivers rows that were read elsewhere. */
  deliver(rows: Row[]): void {
    for (const row of rows) {
      for (const listener of this.#byId.get(row.id) ?? []) listener(row);
      for (const listener of this.#byUser.get(row.userId) ?? []) listener(row);
    }
  }

  #readChanged(): void {
    if (this.#reading || this.#changed.size === 0) return;
    this.#reading = true;
    this.#readAll()
      .catch((error: unknown) =>
        this.#log.warn({ err: error }, 'Watched rows could not be read; they are read again soon.'),
      )
      .finally(() => {
        this.#reading = false;
        if (this.#byId.size === 0 && this.#byUser.size === 0) this.#changed.clear();
      });
  }

  async #readAll(): Promise<void> {
    while (this.#changed.size > 0) {
      // So that hints that arrive together are one query.
      await new Promise((resolve) => setImmediate(resolve));
      const ids = [...this.#changed].slice(0, IDS_PER_READ_MAX);
      for (const id of ids) this.#changed.delete(id);
      const rows = await this.#read(ids);
      this.deliver(rows);
      const found = new Set(rows.map((row) => row.id));
      const missing = ids.filter((id) => !found.has(id));
      for (const id of missing) for (const listener of this.#byId.get(id) ?? []) listener(undefined);
      if (missing.length > 0) this.#onMissing(missing);
    }
  }
}

const IDS_PER_READ_MAX = 1_000;
// Further hints are dropped: the re-check finds rows that are watched by their ids.
const CHANGED_MAX = 100_000;

function addTo<T>(sets: Map<string, Set<T>>, key: string, member: T): () => void {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set.add(member));
  return () => {
    set.delete(member);
    if (set.size === 0 && sets.get(key) === set) sets.delete(key);
  };
}
