import { sql } from 'drizzle-orm';
import { RECHECK_SECONDS, RECHECK_SECONDS_MAX } from '../../domain/limits.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';

/** The position at which a step ended. */
export interface RedispatchPlace {
  wakeAt: string;
  workflowId: string;
}

export interface Redispatched {
  /** The number of jobs that the following passes dispatch again. */
  count: number;
  /** The position for the next step; undefined after the last step. */
  next: RedispatchPlace | undefined;
}

/**
 * Makes the schedules of QUEUED jobs due now, so that the jobs are dispatched again. It runs after
 * an outage in which their events may have been lost. Without it, a job that has waited long would
 * wait as long again, because the looks become rarer with its age (domain/reconcile.ts).
 *
 * A step reads at most `limit` schedules that are due within the longest time between two looks. It
 * skips jobs that were dispatched less than RECHECK_SECONDS ago. So each job costs at most one
 * event in that time, however many processes call this and however often.
 */
export async function redispatchQueued(
  db: Db,
  { after, limit }: { after: RedispatchPlace | undefined; limit: number },
): Promise<Redispatched> {
  const place =
    after === undefined
      ? sql`wake_at > now()`
      : sql`wake_at >= ${after.wakeAt} AND (wake_at, workflow_id) > (${after.wakeAt}, ${after.workflowId})`;
  const [row] = await db.execute<{ count: number; read: number; wake_at: string; workflow_id: string }>(sql`
    WITH /* redispatchQueued */ near AS MATERIALIZED (
      SELECT workflow_id, wake_at, last_job_id FROM schedules
      WHERE ${place} AND wake_at <= now() + ${seconds(Math.max(...Object.values(RECHECK_SECONDS_MAX)))}
      ORDER BY wake_at, workflow_id LIMIT ${limit}
    ), forgotten AS MATERIALIZED (
      SELECT near.workflow_id FROM near, LATERAL (
        SELECT FROM jobs WHERE id = near.last_job_id AND status = 'QUEUED'
          AND ${dispatchedAt} < now() - ${seconds(RECHECK_SECONDS)} LIMIT 1) job
    ), free AS MATERIALIZED (
      SELECT schedules.workflow_id FROM forgotten, LATERAL (
        SELECT workflow_id FROM schedules WHERE schedules.workflow_id = forgotten.workflow_id AND wake_at > now()
        LIMIT 1 FOR UPDATE SKIP LOCKED) schedules
    ), woken AS (
      UPDATE schedules SET wake_at = now() FROM free WHERE schedules.workflow_id = free.workflow_id RETURNING 1
    )
    SELECT (SELECT count(*) FROM woken)::integer AS count, (SELECT count(*) FROM near)::integer AS read,
      wake_at::text, workflow_id
    FROM near ORDER BY near.wake_at DESC, workflow_id DESC LIMIT 1`);
  if (row === undefined) return { count: 0, next: undefined };
  const next = row.read < limit ? undefined : { wakeAt: row.wake_at, workflowId: row.workflow_id };
  return { count: row.count, next };
}

/**
 * The time of the last dispatch of the job, or an earlier time. The next look comes after as long
 * as the job had waited by then, within the bounds of its kind. So the last dispatch was in the
 * middle between `updated_at` and that look, or at one of the bounds.
 */
const dispatchedAt = sql`greatest(
  near.wake_at - CASE kind WHEN 'CONTAINER' THEN ${seconds(RECHECK_SECONDS_MAX.CONTAINER)} ELSE ${seconds(RECHECK_SECONDS_MAX.HEARTBEAT)} END,
  least(updated_at + (near.wake_at - updated_at) / 2, near.wake_at - ${seconds(RECHECK_SECONDS)}))`;
