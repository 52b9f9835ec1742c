import { type SQL, sql } from 'drizzle-orm';
import { ATTEMPT_OF_END } from '../../domain/logs/chunk.ts';
import { COUNT_MORE_LINES } from '../analytics.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { rowSet } from '../row-set.ts';

/** The log of a job or a build that is settled to its end. */
export interface SettledEnd {
  id: string;
  userId: string;
  of: 'jobs' | 'builds';
}

/**
 * Where one attempt's lines end and the next one's begin. A worker that dies leaves lines on the bus of which nobody knows how many they
 * are, and which may have been delivered already; the next attempt's first line must have the number after them. So an attempt with
 * others before it first prints a seam to the same partition; whoever stores chunks comes to it when all that was printed before it is
 * stored, and settles the number; the attempt's lines wait in the engine's log until then. Chunks of earlier attempts that come after
 * the seam, from a worker that was frozen, are dropped (db/logs/append.ts). A seam that is settled again changes nothing.
 *
 * The end of a log is settled in the same way where somebody else than its worker has written the end of its job or build (`leftOpen`). Those
 * whose end is settled here are returned.
 *
 * A job that has ended was counted with the lines that were stored by then; what is settled now is added by the same statement. The number never falls:
 * where nobody came to the end for long, retention may have removed the lines.
 *
 * The rows are locked in the order of their ids, as everybody locks them who locks several, before any is changed: grouping gives the order of
 * a hash, in which this would deadlock with the renewal of the leases.
 */
export async function settleMarkers(db: Db, markers: { sourceId: string; attempt: number }[]): Promise<SettledEnd[]> {
  if (markers.length === 0) return [];
  const ended: SettledEnd[] = [];
  for (const of of ['jobs', 'builds'] as const) {
    const rows = await db.execute<{ id: string; user_id: string; ended: boolean }>(sql`
      WITH given AS MATERIALIZED (
        SELECT source_id AS id, max(attempt) AS attempt
        FROM ${rowSet('u', markers, { sourceId: 'uuid', attempt: 'integer' })} GROUP BY source_id ORDER BY source_id
      ), locked AS MATERIALIZED (
        SELECT given.id, given.attempt, source.log_line_count FROM given, LATERAL (
          SELECT log_line_count FROM ${sql.identifier(of)} WHERE id = given.id AND ${SETTLED_ATTEMPT} < given.attempt
            AND (log_attempt < 0 OR completed_at IS NULL AND given.attempt < ${ATTEMPT_OF_END})
          LIMIT 1 FOR NO KEY UPDATE) source
      ), settled AS (
        UPDATE ${sql.identifier(of)} AS source
        SET log_attempt = CASE WHEN source.log_attempt < 0 AND u.attempt < ${ATTEMPT_OF_END} THEN ~u.attempt ELSE u.attempt END,
          log_line_count = greatest(u.log_line_count, ${storedLines(sql`u.id`)})
        FROM locked AS u WHERE source.id = u.id
        RETURNING source.*, source.log_line_count - u.log_line_count AS more_lines
      )${of === 'jobs' ? sql`, counted AS (${COUNT_MORE_LINES})` : sql``}
      SELECT id, user_id, log_attempt = ${ATTEMPT_OF_END} AS ended FROM settled`);
    ended.push(...rows.filter((row) => row.ended).map((row) => ({ id: row.id, userId: row.user_id, of })));
  }
  return ended;
}

/**
 * To be set with the end of a job or a build that is not written by who printed its lines: some may be on the bus. The bits of `log_attempt` are turned
 * over, which makes it negative, until the end of the log is settled. Where nothing can have been printed it stays as it is.
 */
export function leftOpen(mayHavePrinted: SQL): SQL {
  return sql`CASE WHEN ${mayHavePrinted} THEN ~log_attempt ELSE log_attempt END`;
}

/**
 * Jobs and builds that have ended `seconds` ago or before and whose log's end is still open: who was to print it may have crashed. `limit` of those
 * after the id `after` at most, in the order of their ids.
 */
export async function openEnds(
  db: Db,
  { seconds: ago, after, limit }: { seconds: number; after: string; limit: number },
): Promise<string[]> {
  const open = sql`id > ${after} AND log_attempt < 0 AND completed_at < now() - ${seconds(ago)} ORDER BY id LIMIT ${limit}`;
  const rows = await db.execute<{ id: string }>(sql`
    (SELECT id FROM jobs WHERE ${open}) UNION ALL (SELECT id FROM builds WHERE ${open}) ORDER BY id LIMIT ${limit}`);
  return rows.map(({ id }) => id);
}

/**
 * How many lines of this job or build are stored, for statements that lock rows. The array keeps the planner from choosing partitions of log_chunks while
 * the statement runs: each of them is asked, by its key, which costs microseconds. Where a row that was waited for has changed, the executor starts anew
 * for it, and a server (PostgreSQL 18.4) has once crashed in the choice of partitions that it went on with.
 */
export function storedLines(id: SQL): SQL {
  return sql`(SELECT coalesce(max(last_number), 0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], ${id})))`;
}

/** The attempt that `log_attempt` stands for, also where the log's end is open. */
export const SETTLED_ATTEMPT = sql`greatest(log_attempt, ~log_attempt)`;

/** How many lines earlier attempts have printed; undefined until that is settled for `attempt`. */
export async function settledLines(db: Db, sourceId: string, attempt: number): Promise<number | undefined> {
  const [row] = await db.execute<{ lines: number }>(sql`
    SELECT log_line_count AS lines FROM jobs WHERE id = ${sourceId} AND log_attempt >= ${attempt}
    UNION ALL SELECT log_line_count FROM builds WHERE id = ${sourceId} AND log_attempt >= ${attempt}`);
  return row?.lines;
}
