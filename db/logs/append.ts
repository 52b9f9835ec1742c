import { sql } from 'drizzle-orm';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { rowSet } from '../row-set.ts';

/**
 * Stores chunks. Storing one again changes nothing; a chunk that begins where another one does and goes further replaces it (an
 * adopted container's lines are cut at other places), so readers meet chunks that overlap, and skip what they have read. Chunks of an
 * attempt that come behind the seam of the next one, or behind the end (db/logs/markers.ts), are dropped: their numbers are the new attempt's now. So are
 * those of what was purged meanwhile.
 */
export async function insertChunks(db: Db, chunks: LogChunk[]): Promise<void> {
  // Two chunks with the same key in one statement: ON CONFLICT refuses to change a row twice, so the longer one goes.
  const longest = new Map<string, LogChunk>();
  for (const chunk of chunks) {
    const key = `${chunk.sourceId}:${chunk.firstNumber}`;
    const other = longest.get(key);
    if (other === undefined || chunk.lastNumber > other.lastNumber) longest.set(key, chunk);
  }
  const unique = [...longest.values()].toSorted(
    (a, b) => compare(a.sourceId, b.sourceId) || a.firstNumber - b.firstNumber, // the order in which rows are locked
  );
  if (unique.length === 0) return;
  await db.execute(sql`
    INSERT /* insertChunks */ INTO log_chunks (source_id, first_number, last_number, attempt, lines)
    SELECT u.* FROM ${rowSet('u', unique, {
      sourceId: 'uuid',
      firstNumber: 'integer',
      lastNumber: 'integer',
      attempt: 'integer',
      lines: 'bytea',
    })}
    WHERE coalesce( -- one look a chunk; the second is for builds alone (a join of both: 3 microseconds a chunk more)
      (SELECT log_attempt <= u.attempt FROM jobs WHERE jobs.id = u.source_id LIMIT 1),
      (SELECT log_attempt <= u.attempt FROM builds WHERE builds.id = u.source_id LIMIT 1))
    ON CONFLICT (source_id, first_number) DO UPDATE
      SET last_number = excluded.last_number, lines = excluded.lines, attempt = excluded.attempt
      WHERE excluded.last_number > log_chunks.last_number`);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Removes chunks of these jobs or builds, the first lines of each first, `limit` at most. What is removed is found first, by a statement that
 * locks nothing: the one that may wait for a row chooses no partitions while it runs (`storedLines` in db/logs/markers.ts says why).
 *
 * Resolves with how many it has found: fewer than `limit` when it leaves none. Of those another call, which it waits for, may have removed some.
 */
export async function deleteChunks(
  db: Pick<Db, 'execute'>,
  sourceIds: string[],
  { limit }: { limit: number },
): Promise<number> {
  if (sourceIds.length === 0) return 0;
  const found = await db.execute<{ source_id: string; first_number: number }>(sql`
    SELECT /* deleteChunks */ chunk.* FROM unnest(${array(sourceIds.toSorted(), 'uuid')}) AS asked (id), LATERAL ( -- a join: each id is looked for in its own partition
      SELECT source_id, first_number FROM log_chunks WHERE source_id = asked.id ORDER BY first_number LIMIT ${limit}
    ) chunk LIMIT ${limit}`);
  if (found.length === 0) return 0;
  await db.execute(sql`
    DELETE /* deleteChunks */ FROM log_chunks USING ${rowSet('part', found, { source_id: 'uuid', first_number: 'integer' })}
    WHERE log_chunks.source_id = ANY(array_append(NULL::uuid[], part.source_id)) AND log_chunks.first_number = part.first_number`);
  return found.length;
}
