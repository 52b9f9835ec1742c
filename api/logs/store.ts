import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { chunksAfter } from '../../db/logs/read.ts';
import { databaseNow } from '../../db/lookup.ts';
import { epochOf, type LogChunk } from '../../domain/logs/chunk.ts';
import { unpackedBytes, unpackLines } from '../../domain/logs/packing.ts';
import { isOutage } from '../../platform/postgres/outage.ts';

/**
 * Reads stored chunks for followers. Gives undefined while the database is away, and logs each
 * outage once.
 */
export interface LogStore {
  read(sourceId: string, after: number, count: number): Promise<SharedChunk[] | undefined>;
  /** The time by the database's clock. */
  now(): Promise<Date | undefined>;
}

/**
 * Subscribers at the same position share one query. After a gap, all of them are at the same
 * position.
 */
export function createLogStore(db: Db, log: Logger): LogStore {
  let failing = false;
  const unlessAway = async <T>(asked: Promise<T>): Promise<T | undefined> => {
    try {
      const answer = await asked;
      failing = false;
      return answer;
    } catch (error) {
      if (!isOutage(error)) throw error;
      if (!failing)
        log.warn({ err: error }, 'Stored log lines could not be read; subscribers read them when they can.');
      failing = true;
      return undefined;
    }
  };
  const reads = new Map<string, Promise<SharedChunk[] | undefined>>();
  return {
    read(sourceId, after, count) {
      const key = `${sourceId}:${after}:${count}`;
      const running = reads.get(key);
      if (running) return running;
      const chunks = chunksAfter(db, sourceId, after, count);
      const read = unlessAway(chunks.then((stored) => stored.map((chunk) => new SharedChunk(chunk)))).finally(() =>
        reads.delete(key),
      );
      reads.set(key, read);
      return read;
    },
    now: () => unlessAway(databaseNow(db)),
  };
}

/**
 * A chunk that any number of subscribers hold. Subscribers that read it at the same time share one
 * unpacking.
 */
export class SharedChunk {
  static #made = 0;
  /** Tells chunks apart within the process: a line can come in several. */
  readonly serial = SharedChunk.#count();
  readonly firstNumber: number;
  readonly lastNumber: number;
  readonly attempt: number;
  readonly epoch: number;
  /** The packed size. */
  readonly bytes: number;
  readonly textBytes: number;
  readonly #packed: Buffer;
  // Weak: for a slow subscriber only the packed bytes stay.
  #lines: WeakRef<Promise<Buffer>> | undefined;

  constructor(chunk: LogChunk) {
    const { firstNumber, lastNumber, attempt, lines } = chunk;
    this.firstNumber = firstNumber;
    this.lastNumber = lastNumber;
    this.attempt = attempt;
    this.epoch = epochOf(chunk);
    this.bytes = lines.length;
    this.textBytes = unpackedBytes(lines);
    this.#packed = lines;
  }

  static #count(): number {
    SharedChunk.#made += 1;
    return SharedChunk.#made;
  }

  lines(): Promise<Buffer> {
    const known = this.#lines?.deref();
    if (known) return known;
    const lines = unpackLines(this.#packed);
    this.#lines = new WeakRef(lines);
    return lines;
  }
}
