import { type SQL, sql } from 'drizzle-orm';
import type { LogMarker } from '../../domain/logs/chunk.ts';
import { COUNT_MORE_LINES } from '../analytics.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay, eachDayOf, jobsOfPiece, piecesOfJobs } from '../job-days.ts';
import { rowSet } from '../row-set.ts';

const epochOfRow = (of: 'jobs' | 'builds') =>
  of === 'jobs' ? sql`jobs.attempt + jobs.adoptions` : sql`builds.attempt`;

/** A log that an end-of-log marker has closed. */
export interface SettledEnd {
  id: string;
  userId: string;
  of: 'jobs' | 'builds';
}

/**
 * Settles how many lines a log has where the lines of one epoch end and those of the next begin,
 * and where the log ends.
 *
 * Attempt markers: a worker that dies leaves lines on the bus. Their number is unknown, and
 * subscribers may have them already, so the first line of the next worker needs the number after
 * them. An attempt that follows another, and a worker that adopts a container, therefore publishes
 * a marker to the same partition before its first line. When the joblogs worker reaches the marker,
 * all lines before it are stored. Until then, the new lines wait in the engine's log. Chunks of
 * earlier epochs that come after the marker, from a worker that was frozen, are dropped
 * (db/logs/append.ts).
 *
 * End-of-log markers: one closes a log that is open (`log_open`) because a process other than its
 * worker has ended the job or build. Nothing after the marker counts: `log_attempt` is then beyond
 * the last epoch. Resolves with the logs that this call closed.
 *
 * The totals of an ended job contain the lines stored by its end; the same statement adds the lines
 * settled now. The number never falls: retention may have removed lines before the marker came. A
 * repeated marker changes nothing.
 *
 * Rows are locked in the order of their ids before any row changes. Grouping alone would lock them
 * in the order of a hash and deadlock with the renewal of leases.
 */
export async function settleMarkers(db: Db, markers: LogMarker[]): Promise<SettledEnd[]> {
  if (markers.length === 0) return [];
  const given = markers.map((marker) => ({
    id: marker.sourceId,
    epoch: marker.kind === 'attempt-marker' ? marker.epoch : undefined,
  }));
  const ended: SettledEnd[] = [];
  const settle = (of: SettledEnd['of'], source: SQL, some: typeof given) =>
    db.execute<{ id: string; user_id: string }>(sql`
    WITH /* settleMarkers */ given AS MATERIALIZED (
      SELECT id, max(epoch) AS epoch, bool_or(epoch IS NULL) AS ends
      FROM ${rowSet('u', some, { id: 'uuid', epoch: 'integer' })} GROUP BY id ORDER BY id
    ), locked AS MATERIALIZED (
      SELECT given.id, given.epoch, source.log_line_count, source.log_open AND given.ends AS closes FROM given, LATERAL (
        SELECT log_line_count, log_open FROM ${source} WHERE id = given.id
          AND (log_open AND given.ends OR log_attempt < given.epoch AND (log_open OR completed_at IS NULL))
        LIMIT 1 FOR NO KEY UPDATE) source
    ), settled AS (
      UPDATE ${source}
      SET log_attempt = CASE WHEN u.closes THEN ${epochOfRow(of)} + 1 ELSE u.epoch END,
        log_open = ${sql.raw(of)}.log_open AND NOT u.closes,
        log_line_count = greatest(u.log_line_count, ${storedLines(sql`u.id`)})
      FROM locked AS u WHERE ${sql.raw(of)}.id = ANY(ARRAY[u.id])
      RETURNING ${sql.raw(of)}.*, u.closes, ${sql.raw(of)}.log_line_count - u.log_line_count AS more_lines
    )${of === 'jobs' ? sql`, counted AS (${COUNT_MORE_LINES})` : sql``}
    SELECT id, user_id FROM settled WHERE closes`);
  const rowsOf = {
    jobs: await eachDay(
      db,
      given,
      ({ id }) => id,
      (jobs, some) => settle('jobs', jobs, some),
    ),
    builds: await settle('builds', sql`builds AS builds`, given),
  };
  for (const of of ['jobs', 'builds'] as const)
    ended.push(...rowsOf[of].map((row) => ({ id: row.id, userId: row.user_id, of })));
  return ended;
}

/**
 * Jobs and builds that ended at least `seconds` ago and whose log is still open: the process that
 * should have published the end-of-log marker may have crashed. At most `limit` ids behind `after`,
 * in their order.
 */
export async function openEnds(
  db: Db,
  { seconds: ago, after, limit }: { seconds: number; after: string; limit: number },
): Promise<string[]> {
  const open = sql`id > ${after} AND log_open AND completed_at < now() - ${seconds(ago)}`;
  const builds = await db.execute<{ id: string }>(sql`
    SELECT /* openEnds */ id FROM builds WHERE ${open} ORDER BY id LIMIT ${limit}`);
  const jobs: { id: string }[] = [];
  for (const piece of await piecesOfJobs(db, { ascending: true, above: after })) {
    if (jobs.length >= limit) break;
    const page = jobsOfPiece(piece, { columns: sql`id`, where: open, order: 'ASC', limit: sql`${limit}` });
    jobs.push(...(await db.execute<{ id: string }>(sql`SELECT /* openEnds */ id FROM ${page} AS jobs ORDER BY id`)));
  }
  const ids = [...builds, ...jobs].map(({ id }) => id);
  return ids.toSorted((a, b) => (a < b ? -1 : 1)).slice(0, limit);
}

/**
 * The number of stored lines of this job or build, for statements that lock rows. The array keeps
 * the executor from choosing partitions of log_chunks at run time. Instead it looks up the key in
 * each partition, which takes microseconds. If a row changed while the statement waited for it, the
 * executor runs again for that row, and PostgreSQL 18.4 once crashed while choosing partitions
 * there.
 */
export function storedLines(id: SQL): SQL {
  return sql`(SELECT coalesce(max(last_number), 0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], ${id})))`;
}

/**
 * The number of lines that were printed before `epoch`. Undefined until the marker of `epoch` is
 * settled.
 */
export async function settledLines(db: Db, sourceId: string, epoch: number): Promise<number | undefined> {
  const ofJob = await eachDayOf(db, [sourceId], (jobs) =>
    db.execute<{ lines: number }>(sql`
    SELECT /* settledLines */ log_line_count AS lines FROM ${jobs} WHERE id = ${sourceId} AND log_attempt >= ${epoch}`),
  );
  const ofBuild = await db.execute<{ lines: number }>(sql`
    SELECT /* settledLines */ log_line_count AS lines FROM builds WHERE id = ${sourceId} AND log_attempt >= ${epoch}`);
  return [...ofJob, ...ofBuild][0]?.lines;
}
