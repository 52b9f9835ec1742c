import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { isOutage } from '../../db/connection-check.ts';
import { chunksAfter } from '../../db/logs/read.ts';
import { databaseNow } from '../../db/lookup.ts';
import { SharedChunk } from './shared-chunk.ts';

/**
 * Reads stored chunks; undefined while the database is away. Subscribers that stand at the same place at the same time, as after a gap all
 * do, share one query.
 */
export function createLogStore(
  db: Db,
  log: Logger,
): {
  read(sourceId: string, after: number, count: number): Promise<SharedChunk[] | undefined>;
  /** The database's clock; undefined while it is away. */
  now(): Promise<Date | undefined>;
} {
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
