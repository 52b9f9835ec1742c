import { and, asc, desc, eq, gte, lte, type SQL, sql } from 'drizzle-orm';
import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { logChunks } from '../schema.ts';

/** A chunk holds fewer lines than this: flag, a timestamp of at least 20 characters, space and newline are 23 bytes a line. */
const CHUNK_LINES_MAX = Math.ceil(CHUNK_BYTES_MAX / 23);

/**
 * Stored chunks from the one that holds the line after `after` on, by first number, at most `count`. They may overlap (lines of
 * an adopted container are sent again, cut elsewhere): a reader skips what it has, and asks again where it meets a gap, because the
 * chunk that fills it may begin before one that it was given.
 */
export async function chunksAfter(db: Db, sourceId: string, after: number, count: number): Promise<LogChunk[]> {
  const next = after + 1;
  return named(
    'chunksAfter',
    db
      .select()
      .from(logChunks)
      .where(
        and(
          eq(logChunks.sourceId, sourceId),
          gte(logChunks.firstNumber, sql`coalesce(${firstOfHolding(sourceId, next)}, ${next})`),
        ),
      )
      .orderBy(asc(logChunks.firstNumber))
      .limit(count),
  );
}

/** Stored chunks from the one that holds the line before `before` back, the last ones first. They may overlap in the same way. */
export async function chunksBefore(db: Db, sourceId: string, before: number, count: number): Promise<LogChunk[]> {
  const last = before - 1;
  return named(
    'chunksBefore',
    db
      .select()
      .from(logChunks)
      .where(
        and(
          eq(logChunks.sourceId, sourceId),
          lte(logChunks.firstNumber, sql`coalesce(${firstOfHolding(sourceId, last)}, ${last})`),
        ),
      )
      .orderBy(desc(logChunks.firstNumber))
      .limit(count),
  );
}

/** The number of the last stored line, 0 when there is none. A chunk that begins earlier than the last one may reach further. */
export async function lastLogNumber(db: Db, sourceId: string): Promise<number> {
  const [row] = await db.execute<{ last: number }>(sql`
    SELECT /* lastLogNumber */ coalesce(max(last_number), 0) AS last FROM log_chunks WHERE source_id = ${sourceId} AND first_number > ${-CHUNK_LINES_MAX} +
      (SELECT first_number FROM log_chunks WHERE source_id = ${sourceId} ORDER BY first_number DESC LIMIT 1)`);
  return row?.last ?? 0;
}

/**
 * Where the chunk that holds this line begins, or null. Nearly always it is the last one that begins at the line or before it, so that one
 * row is read; behind the end of a log, all that are near enough to reach so far.
 */
function firstOfHolding(sourceId: string, number: number): SQL {
  return sql`(SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = ${sourceId}
    AND held.first_number BETWEEN ${number - CHUNK_LINES_MAX} AND ${number} AND held.last_number >= ${number})`;
}
