import type { Logger } from 'pino';

/** Told of a row as it is read; undefined when it is there no more. The same row may come several times, never an older one after a newer. */
export type Listener<Row> = (row: Row | undefined) => void;

interface Identified {
  id: string;
  userId: string;
}

/**
 * The rows of one table that somebody watches. Each is read once for all who watch it, those that changed together by one query, one
 * query at a time.
 */
export class WatchedRows<Row extends Identified> {
  readonly #byId = new Map<string, Set<Listener<Row>>>();
  readonly #byUser = new Map<string, Set<Listener<Row>>>();
  readonly #changed = new Set<string>();
  readonly #read: (ids: string[]) => Promise<Row[]>;
  readonly #log: Logger;
  #reading = false;

  constructor(read: (ids: string[]) => Promise<Row[]>, log: Logger) {
    this.#read = read;
    this.#log = log;
  }

  /** Follows one row. The caller has checked that it may be seen. */
  watch(id: string, listener: Listener<Row>): () => void {
    return addTo(this.#byId, id, listener);
  }

  /** Follows whatever of a user's rows a hint names. */
  watchUser(userId: string, listener: Listener<Row>): () => void {
    return addTo(this.#byUser, userId, listener);
  }

  /** These rows of a user have changed: they are read where somebody watches them. */
  hint(userId: string, ids: string[]): void {
    const all = this.#byUser.has(userId);
    for (const id of ids) if ((all || this.#byId.has(id)) && this.#changed.size < CHANGED_MAX) this.#changed.add(id);
    this.#readChanged();
  }

  /** Reads every row that is watched by its id: what heals lost hints. */
  recheck(): void {
    for (const id of this.#byId.keys()) this.#changed.add(id);
    this.#readChanged();
  }

  /** Rows that were read elsewhere. */
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
      await new Promise((resolve) => setImmediate(resolve)); // hints that arrive together are one query
      const ids = [...this.#changed].slice(0, IDS_PER_READ_MAX);
      for (const id of ids) this.#changed.delete(id);
      const rows = await this.#read(ids);
      this.deliver(rows);
      const found = new Set(rows.map((row) => row.id));
      for (const id of ids) if (!found.has(id)) for (const listener of this.#byId.get(id) ?? []) listener(undefined);
    }
  }
}

const IDS_PER_READ_MAX = 1_000;
const CHANGED_MAX = 100_000; // hints beyond are dropped: the re-check finds what is watched by its id

function addTo<T>(sets: Map<string, Set<T>>, key: string, member: T): () => void {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set.add(member));
  return () => {
    set.delete(member);
    if (set.size === 0 && sets.get(key) === set) sets.delete(key);
  };
}
