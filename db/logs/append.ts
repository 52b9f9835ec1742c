import { type SQL, sql } from 'drizzle-orm';
import { epochOf, type LogChunk } from '../../domain/logs/chunk.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay } from '../job-days.ts';
import { rowSet } from '../row-set.ts';

/**
 * Stores chunks. Storing a chunk twice changes nothing. A chunk replaces a stored one that begins
 * at the same line and ends earlier: the lines of an adopted container are divided into chunks
 * anew. So stored chunks may overlap, and readers skip the lines that they have read.
 *
 * Drops chunks of epochs below `log_attempt`, which come behind a marker (db/logs/markers.ts):
 * their numbers belong to another attempt or to the worker that adopted its container, or the log
 * is closed. Drops chunks of purged jobs and builds too.
 */
export async function insertChunks(db: Db, chunks: LogChunk[]): Promise<void> {
  // ON CONFLICT refuses to change a row twice in one statement. So only one of several chunks with
  // the same key is sent: the longest of the newest epoch, because an older one may not count.
  const newest = new Map<string, LogChunk & { epoch: number }>();
  for (const chunk of chunks) {
    const key = `${chunk.sourceId}:${chunk.firstNumber}`;
    const epoch = epochOf(chunk);
    const other = newest.get(key);
    if (other === undefined || epoch > other.epoch || (epoch === other.epoch && chunk.lastNumber > other.lastNumber))
      newest.set(key, { ...chunk, epoch });
  }
  const unique = [...newest.values()].toSorted(
    (a, b) => compare(a.sourceId, b.sourceId) || a.firstNumber - b.firstNumber, // rows are locked in this order
  );
  if (unique.length === 0) return;
  const insert = (jobs: SQL, ofDay: LogChunk[]) =>
    db.execute(sql`
    INSERT /* insertChunks */ INTO log_chunks (source_id, first_number, last_number, attempt, lines)
    SELECT u.source_id, u.first_number, u.last_number, u.attempt, u.lines FROM ${rowSet('u', ofDay, {
      sourceId: 'uuid',
      firstNumber: 'integer',
      lastNumber: 'integer',
      attempt: 'integer',
      lines: 'bytea',
      epoch: 'integer',
    })}
    WHERE coalesce( -- one lookup a chunk, the second for builds alone (joining both takes 3 microseconds more)
      (SELECT log_attempt <= u.epoch FROM ${jobs} WHERE jobs.id = u.source_id LIMIT 1),
      (SELECT log_attempt <= u.epoch FROM builds WHERE builds.id = u.source_id LIMIT 1))
    ${KEEP_LONGER}`);
  await eachDay(db, unique, ({ sourceId }) => sourceId, insert);
}

/** Of two chunks that begin at the same line, the longer one stays. */
const KEEP_LONGER = sql`ON CONFLICT (source_id, first_number) DO UPDATE
      SET last_number = excluded.last_number, lines = excluded.lines, attempt = excluded.attempt
      WHERE excluded.last_number > log_chunks.last_number`;

/**
 * Stores the last lines of jobs in the statement that ends them. The statement needs a CTE `ended`
 * with their id, attempt, first_number, log_line_count and text, which is the place in `texts` from
 * 1 on, or null where a job has none. Their leases held, so no other attempt has lines behind
 * these.
 */
export function storeLastLines(texts: readonly Buffer[]): SQL {
  return sql`
  INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
  SELECT id, first_number, log_line_count, attempt, (${array(texts, 'bytea')})[text]
  FROM ended WHERE text IS NOT NULL
  ${KEEP_LONGER}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Removes at most `limit` chunks of these jobs or builds, beginning with the first lines of each. A
 * separate statement without locks finds them: the DELETE may wait for a row, and must not choose
 * partitions while it runs (`storedLines` in db/logs/markers.ts).
 *
 * Resolves with the number that it found: fewer than `limit` when none are left. Another call may
 * have removed some of them.
 */
export async function deleteChunks(
  db: Pick<Db, 'execute'>,
  sourceIds: string[],
  { limit }: { limit: number },
): Promise<number> {
  if (sourceIds.length === 0) return 0;
  const found = await db.execute<{ source_id: string; first_number: number }>(sql`
    SELECT /* deleteChunks */ chunk.* FROM unnest(${array(sourceIds.toSorted(), 'uuid')}) AS asked (id), LATERAL ( -- a join looks up each id in its own partition
      SELECT source_id, first_number FROM log_chunks WHERE source_id = asked.id ORDER BY first_number LIMIT ${limit}
    ) chunk LIMIT ${limit}`);
  if (found.length === 0) return 0;
  await db.execute(sql`
    DELETE /* deleteChunks */ FROM log_chunks USING ${rowSet('part', found, { source_id: 'uuid', first_number: 'integer' })}
    WHERE log_chunks.source_id = ANY(array_append(NULL::uuid[], part.source_id)) AND log_chunks.first_number = part.first_number`);
  return found.length;
}
