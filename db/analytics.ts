import { type SQL, sql } from 'drizzle-orm';
import { type TimeRange, wholeDays } from '../domain/analytics.ts';
import { array, seconds } from './arrays.ts';
import type { Db } from './client.ts';

/**
 * Counts the jobs that a statement ends, in the same transaction. The statement needs a CTE `ended`
 * with their workflow_id, user_id, status, started_at and log_line_count. It inserts one row for
 * the whole set, whatever its size.
 */
export const COUNT_ENDED = sql`
  INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
  SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at), array_agg(log_line_count)
  FROM ended HAVING count(*) > 0`;

/**
 * Adds lines to jobs that are already counted. The statement needs a CTE `settled` with their rows
 * and the lines to add in more_lines. It adds an element of weight 0 at the place of the job's end.
 */
export const COUNT_MORE_LINES = sql`
  INSERT INTO totals_pending (at, weight, user_ids, workflow_ids, whats, started_ats, log_lines)
  SELECT completed_at, 0, ARRAY[user_id], ARRAY[workflow_id], ARRAY[status], ARRAY[started_at], ARRAY[more_lines]
  FROM settled WHERE completed_at IS NOT NULL AND more_lines > 0`;

/**
 * Whether counts are pending and nothing has ended for `idleSeconds`, or those of about `jobs` jobs
 * are pending, or one for `seconds`. The size of an array tells the number without reading it: 4
 * bytes for each, and a few more for each set.
 */
export async function areTotalsDue(
  db: Db,
  { idleSeconds, jobs, seconds: most }: { idleSeconds: number; jobs: number; seconds: number },
): Promise<boolean> {
  const [row] = await db.execute<{ due: boolean }>(sql`
    SELECT /* areTotalsDue */ coalesce(max(at) <= now() - ${seconds(idleSeconds)}
      OR min(at) <= now() - ${seconds(most)} OR sum(pg_column_size(log_lines)) / 4 >= ${jobs}, false) AS due
    FROM totals_pending`);
  return row?.due ?? false;
}

/**
 * Moves at most `limit` sets of pending counts into the totals. One statement deletes and adds
 * them, so each job counts once despite crashes and parallel calls. It takes keys in order, so two
 * calls do not deadlock. Returns the number of sets.
 */
export async function rollUpTotals(db: Db, { limit }: { limit: number }): Promise<number> {
  const [row] = await db.execute<{ taken: number }>(sql`
    WITH /* rollUpTotals */ chosen AS MATERIALIZED (
      SELECT id FROM totals_pending ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), taken AS MATERIALIZED (
      DELETE FROM totals_pending USING chosen WHERE totals_pending.id = ANY(ARRAY[chosen.id]) RETURNING totals_pending.*
    ), happened AS MATERIALIZED (
      SELECT scope_id, of_user, what, hour, bucket, sum(count) AS count, sum(log_lines) AS log_lines, sum(duration_ms) AS duration_ms
      FROM (${happened(sql`taken`)}) happened GROUP BY scope_id, of_user, what, hour, bucket
    ), rolled_up AS (
      INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
      SELECT scope_id, what, hour, bucket, count, log_lines, duration_ms FROM happened
      ORDER BY scope_id, what, hour, bucket
      ON CONFLICT (scope_id, what, hour, bucket) DO UPDATE SET count = totals.count + excluded.count,
        log_lines = totals.log_lines + excluded.log_lines, duration_ms = totals.duration_ms + excluded.duration_ms
    ), rolled_up_days AS (
      INSERT INTO daily_totals (user_id, what, day, bucket, count, log_lines, duration_ms)
      SELECT scope_id, what, date_trunc('day', hour, 'UTC') AS day, bucket, sum(count), sum(log_lines), sum(duration_ms)
      FROM happened WHERE of_user AND what = ANY(${ENDED})
      GROUP BY scope_id, what, day, bucket ORDER BY scope_id, what, day, bucket
      ON CONFLICT (user_id, what, day, bucket) DO UPDATE SET count = daily_totals.count + excluded.count,
        log_lines = daily_totals.log_lines + excluded.log_lines, duration_ms = daily_totals.duration_ms + excluded.duration_ms
    )
    SELECT count(*)::integer AS taken FROM taken`);
  return row?.taken ?? 0;
}

export interface Total {
  scopeId: string;
  what: 'COMPLETED' | 'FAILED' | 'CANCELED' | 'WORKFLOW_CREATED' | 'WORKFLOW_DELETED';
  bucket: number;
  count: number;
  logLines: number;
  durationMs: number;
}

/** What ended in a range of hours, for each of these workflows. */
export function readWorkflowTotals(db: Db, workflowIds: string[], range: TimeRange): Promise<Total[]> {
  const ids = array(workflowIds, 'uuid');
  return readTotals(db, ids, hoursOf(ids, range), range);
}

/**
 * The same for a user, plus the workflows created before the end of the range and those deleted
 * before its beginning. Whole days come from the daily totals.
 */
export function readUserTotals(db: Db, userId: string, range: TimeRange): Promise<Total[]> {
  const ids = array([userId], 'uuid');
  const { days, hours } = wholeDays(range);
  const { begin, end } = bounds(range);
  const parts = [
    ...hours.map((part) => hoursOf(ids, part)),
    ...(days === undefined ? [] : [daysOf(ids, days)]),
    sql`${FROM_TOTALS} WHERE scope_id = ANY(${ids}) AND what = 'WORKFLOW_CREATED' AND hour < ${end}`,
    sql`${FROM_TOTALS} WHERE scope_id = ANY(${ids}) AND what = 'WORKFLOW_DELETED' AND hour < ${begin}`,
  ];
  return readTotals(db, ids, sql.join(parts, sql` UNION ALL `), range);
}

const ENDED = sql`ARRAY['COMPLETED', 'FAILED', 'CANCELED']`;
const FROM_TOTALS = sql`SELECT scope_id, what, bucket, count, log_lines, duration_ms FROM totals`;

function hoursOf(ids: SQL, range: TimeRange): SQL {
  const { begin, end } = bounds(range);
  return sql`${FROM_TOTALS} WHERE scope_id = ANY(${ids}) AND what = ANY(${ENDED}) AND hour >= ${begin} AND hour < ${end}`;
}

function daysOf(ids: SQL, range: TimeRange): SQL {
  const { begin, end } = bounds(range);
  return sql`SELECT user_id AS scope_id, what, bucket, count, log_lines, duration_ms FROM daily_totals
    WHERE user_id = ANY(${ids}) AND what = ANY(${ENDED}) AND day >= ${begin} AND day < ${end}`;
}

function bounds({ from, to }: TimeRange): { begin: SQL; end: SQL } {
  return {
    begin: sql`${from === undefined ? '-infinity' : written(from)}::timestamptz`,
    end: sql`${to === undefined ? 'infinity' : written(to)}::timestamptz`,
  };
}

/**
 * The last hour of the year 9999 ends in the year 10000, which PostgreSQL does not read in ISO
 * 8601.
 */
function written(instant: Date): string {
  return instant.getUTCFullYear() > 9999 ? 'infinity' : instant.toISOString();
}

/** Reads rolled-up and pending counts in one statement, so totals are current. */
async function readTotals(db: Db, ids: SQL, rolledUp: SQL, range: TimeRange): Promise<Total[]> {
  const { begin, end } = bounds(range);
  const pending = sql`(SELECT * FROM totals_pending WHERE user_ids && ${ids} OR workflow_ids && ${ids})`;
  const rows = await db.execute<{
    scope_id: string;
    what: Total['what'];
    bucket: number;
    count: number;
    log_lines: number;
    duration_ms: number;
  }>(sql`
    SELECT /* readTotals */ scope_id, what, bucket, sum(count)::float8 AS count, sum(log_lines)::float8 AS log_lines,
      sum(duration_ms)::float8 AS duration_ms
    FROM (
      ${rolledUp}
      UNION ALL SELECT scope_id, what, bucket, count, log_lines, duration_ms FROM (${happened(pending)}) happened
      WHERE scope_id = ANY(${ids}) AND CASE what WHEN 'WORKFLOW_CREATED' THEN hour < ${end}
        WHEN 'WORKFLOW_DELETED' THEN hour < ${begin} ELSE hour >= ${begin} AND hour < ${end} END
    ) totals
    GROUP BY scope_id, what, bucket`);
  return rows.map((row) => ({
    scopeId: row.scope_id,
    what: row.what,
    bucket: row.bucket,
    count: row.count,
    logLines: row.log_lines,
    durationMs: row.duration_ms,
  }));
}

/**
 * The elements of rows of totals_pending in the columns of totals: one for the user and one for the
 * workflow.
 */
function happened(pending: SQL): SQL {
  return sql`
    SELECT scope.id AS scope_id, of_user, what, date_trunc('hour', at, 'UTC') AS hour, duration_bucket(ms) AS bucket, weight::bigint AS count,
      lines::bigint AS log_lines, weight * coalesce(ms, 0) AS duration_ms
    FROM ${pending} AS pending,
      LATERAL unnest(user_ids, workflow_ids, whats, started_ats, pending.log_lines) AS e (user_id, workflow_id, what, started_at, lines),
      LATERAL (VALUES (user_id, true), (workflow_id, false)) AS scope (id, of_user),
      LATERAL (SELECT duration_ms(started_at, at) AS ms OFFSET 0) AS duration -- once, not for each column that it is in
    WHERE scope.id IS NOT NULL`;
}
