import { sql } from 'drizzle-orm';
import { RECHECK_SECONDS, RECHECK_SECONDS_MAX } from '../../domain/limits.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay } from '../job-days.ts';
import { rowSet } from '../row-set.ts';

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
  const near = await db.execute<Near>(sql`
    SELECT /* redispatchQueued */ workflow_id AS "workflowId", wake_at::text AS "wakeAt", last_job_id AS "lastJobId" FROM schedules
    WHERE ${place} AND wake_at <= now() + ${seconds(Math.max(...Object.values(RECHECK_SECONDS_MAX)))}
    ORDER BY wake_at, workflow_id LIMIT ${limit}`);
  const dispatched = near.filter((schedule) => schedule.lastJobId !== null);
  const forgotten = await eachDay(
    db,
    dispatched,
    (schedule) => schedule.lastJobId ?? '',
    (jobs, ofDay) =>
      db.execute<{ workflow_id: string }>(sql`
    SELECT /* redispatchQueued */ near.workflow_id
    FROM ${rowSet('near', ofDay, { workflowId: 'uuid', wakeAt: 'timestamptz', lastJobId: 'uuid' })}, LATERAL (
      SELECT FROM ${jobs} WHERE id = near.last_job_id AND status = 'QUEUED'
        AND ${dispatchedAt} < now() - ${seconds(RECHECK_SECONDS)} LIMIT 1) job`),
  );
  const woken = await wake(
    db,
    forgotten.map((row) => row.workflow_id),
  );
  return { count: woken.length, next: near.length < limit ? undefined : near.at(-1) };
}

type Near = { workflowId: string; wakeAt: string; lastJobId: string | null };

/** Skips schedules that another transaction has locked: it acts on them now. */
function wake(db: Db, workflowIds: string[]): Promise<unknown[]> {
  return db.execute(sql`
    WITH /* wake */ free AS MATERIALIZED (
      SELECT workflow_id FROM schedules WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND (wake_at > now()) IS TRUE -- so, by the key alone
      ORDER BY workflow_id FOR UPDATE SKIP LOCKED
    )
    UPDATE schedules SET wake_at = now() FROM free WHERE schedules.workflow_id = ANY(ARRAY[free.workflow_id]) RETURNING 1`);
}

/**
 * The time of the last dispatch of the job, or an earlier time. The next look comes after as long
 * as the job had waited by then, within the bounds of its kind. So the last dispatch was in the
 * middle between `updated_at` and that look, or at one of the bounds.
 */
const dispatchedAt = sql`greatest(
  near.wake_at - CASE kind WHEN 'CONTAINER' THEN ${seconds(RECHECK_SECONDS_MAX.CONTAINER)} ELSE ${seconds(RECHECK_SECONDS_MAX.HEARTBEAT)} END,
  least(updated_at + (near.wake_at - updated_at) / 2, near.wake_at - ${seconds(RECHECK_SECONDS)}))`;
