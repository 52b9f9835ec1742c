import { and, asc, desc, eq, gte, lte, type SQL, sql } from 'drizzle-orm';
import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { LINE_BYTES_MIN } from '../../domain/logs/decode.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { logChunks } from '../schema.ts';

/** The most lines that a chunk can hold. */
const CHUNK_LINES_MAX = Math.ceil(CHUNK_BYTES_MAX / LINE_BYTES_MIN);

/**
 * At most `count` stored chunks in the order of their first line, beginning with the chunk that
 * holds the line after `after`. Chunks may overlap: the lines of an adopted container are published
 * again, divided differently. A reader skips the lines that it has. At a gap it reads again,
 * because the chunk that fills the gap may begin before one of these chunks.
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

/**
 * The same backwards: the last chunk first, beginning with the chunk that holds the line before
 * `before`.
 */
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

/**
 * The number of the last stored line, or 0. A chunk that begins earlier than the last chunk may end
 * later.
 */
export async function lastLogNumber(db: Db, sourceId: string): Promise<number> {
  const [row] = await db.execute<{ last: number }>(sql`
    SELECT /* lastLogNumber */ coalesce(max(last_number), 0) AS last FROM log_chunks WHERE source_id = ${sourceId} AND first_number > ${-CHUNK_LINES_MAX} +
      (SELECT first_number FROM log_chunks WHERE source_id = ${sourceId} ORDER BY first_number DESC LIMIT 1)`);
  return row?.last ?? 0;
}

/**
 * The first line of the chunk that holds this line, or null. Nearly always that is the last chunk
 * that begins at or before the line, so this reads one row. Behind the end of a log it reads all
 * chunks that are close enough to reach the line.
 */
function firstOfHolding(sourceId: string, number: number): SQL {
  return sql`(SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = ${sourceId}
    AND held.first_number BETWEEN ${number - CHUNK_LINES_MAX} AND ${number} AND held.last_number >= ${number})`;
}
