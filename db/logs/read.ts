import { and, asc, eq, gte, type SQL, sql } from 'drizzle-orm';
import { CHUNK_BYTES_MAX } from '../../domain/limits.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { LINE_BYTES_MIN } from '../../domain/logs/decode.ts';
import { arrayText } from '../arrays.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { preparedByShape } from '../prepared.ts';
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

/** Where a reader of a log goes on. */
export interface LogPlace {
  sourceId: string;
  /**
   * The first line that it wants, or the last one if it reads backwards. Null is the last stored
   * line.
   */
  at: number | null;
  /** How many chunks it wants at most. */
  count: number;
}

/**
 * The chunks at each of these places, in one statement: the chunk that holds the line first, then
 * those behind it, or before it if it reads `backwards`. What chunksAfter says of them is true here
 * too.
 *
 * Stops behind the chunk with which the chunks have `bytesMax` bytes together. Then it returns
 * fewer lists than there are places, but one at least; the last one may lack chunks.
 */
export async function chunksOfLogs(
  db: Db,
  places: LogPlace[],
  { backwards, bytesMax }: { backwards: boolean; bytesMax: number },
): Promise<LogChunk[][]> {
  const ids = places.map(({ sourceId }) => sourceId);
  const integers = (numbers: (number | null)[]) => arrayText(numbers, 'integer');
  const values = {
    backwards: backwards || undefined,
    n: integers(places.map((_, n) => n)),
    sourceId: arrayText(ids, 'uuid'),
    at: integers(places.map(({ at }) => at)),
    count: integers(places.map(({ count }) => count)),
    bytesMax,
  };
  const rows = await chunksOfLogsQuery(db, values).execute(values);
  const last = rows.at(-1);
  const isCut = last !== undefined && Number(last.bytes) >= bytesMax;
  const lists: LogChunk[][] = places.slice(0, isCut ? last.n + 1 : places.length).map(() => []);
  for (const { n, bytes: _, ...chunk } of rows) lists[n]?.push(chunk);
  return lists;
}

const chunksOfLogsQuery = preparedByShape((db, shape, name) => {
  const asked = sql`unnest(${sql.placeholder('n')}::integer[], ${sql.placeholder('sourceId')}::uuid[],
    ${sql.placeholder('at')}::integer[], ${sql.placeholder('count')}::integer[]) AS asked (n, source_id, at, count)`;
  const direction = sql.raw(shape.has('backwards') ? 'DESC' : 'ASC');
  const inPlace = shape.has('backwards')
    ? sql`first_number <= CASE WHEN asked.at IS NULL THEN ${FIRST_OF_LAST} ELSE ${FIRST_OF_HOLDING} END`
    : sql`first_number >= ${FIRST_OF_HOLDING}`;
  const found = sql`(SELECT asked.n, chunk.* FROM ${asked}, LATERAL (SELECT * FROM log_chunks
    WHERE source_id = asked.source_id AND ${inPlace} ORDER BY first_number ${direction} LIMIT asked.count) chunk) found`;
  const counted = sql`(SELECT found.*, sum(octet_length(lines)) OVER (ORDER BY n, first_number ${direction}) AS bytes
    FROM ${found}) counted`;
  return named(
    'chunksOfLogs',
    db
      .select({
        n: sql<number>`n`,
        sourceId: sql<string>`source_id`,
        firstNumber: sql<number>`first_number`,
        lastNumber: sql<number>`last_number`,
        attempt: sql<number>`attempt`,
        lines: sql<Buffer>`lines`,
        bytes: sql<string>`bytes`,
      })
      .from(counted)
      .where(sql`bytes - octet_length(lines) < ${sql.placeholder('bytesMax')}`)
      .orderBy(sql`n, first_number ${direction}`),
  ).prepare(name);
});

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

/** The same for a place of chunksOfLogs. If no chunk holds the line, it is the line itself. */
const FIRST_OF_HOLDING = sql`coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = asked.source_id
    AND held.first_number BETWEEN asked.at - ${sql.raw(String(CHUNK_LINES_MAX))} AND asked.at AND held.last_number >= asked.at), asked.at)`;

/** The first line of the chunk that holds the last stored line, as lastLogNumber finds it. */
const FIRST_OF_LAST = sql`(SELECT tail.first_number FROM log_chunks tail WHERE tail.source_id = asked.source_id
    AND tail.first_number > ${sql.raw(String(-CHUNK_LINES_MAX))} + (
      SELECT first_number FROM log_chunks WHERE source_id = asked.source_id ORDER BY first_number DESC LIMIT 1)
    ORDER BY tail.last_number DESC, tail.first_number DESC LIMIT 1)`;
