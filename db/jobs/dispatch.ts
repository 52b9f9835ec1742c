import { sql } from 'drizzle-orm';
import { type DispatchedJob, type Effects, noEffects } from '../../domain/effects.ts';
import { RECHECK_SECONDS } from '../../domain/limits.ts';
import type { WorkflowKind } from '../../domain/states.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { ID_SET, idInSet } from '../ids.ts';

/**
 * Turns due slots of idle workflows into QUEUED jobs, in one statement over at most `limit`
 * schedules whose wake_at has come.
 *
 * - Jobs are QUEUED before their event is sent. Marking them afterwards would race the claim and
 *   write each row twice. A crash in between leaves QUEUED jobs without an event; the wake_at of
 *   their schedules finds them.
 * - The slot is the last one that has passed. Slots before it, missed while the system was down or
 *   a job ran over, are skipped.
 * - Any number of schedulers may run this: each takes rows that no other holds. A row that another
 *   scheduler has advanced meanwhile is read again under the lock and no longer matches, because
 *   advancing moves wake_at into the future.
 * - A last job that the snapshot does not contain (another scheduler has just made it) counts as
 *   active. So does one that is gone. reconcileSchedules reads with a snapshot that was taken under
 *   the lock, and distinguishes the two.
 * - A request for a run may commit between the snapshot and the lock of the schedule. The snapshot
 *   lacks the row of run_requests, and moving wake_at would overwrite the wake_at of the request.
 *   So the request also sets `schedules.requested` in its transaction, and this statement reads
 *   that column: PostgreSQL reads a locked row again, in its newest version. The column may stay
 *   true after the last request has gone (after a cancellation), and is never false while one
 *   waits: requests set it under the lock of the schedule, and only reconcileSchedules clears it,
 *   under that lock, when no request is left.
 */
export async function queueDueSlots(
  db: Db,
  { limit }: { limit: number },
): Promise<{
  effects: Effects;
  /**
   * Workflows whose schedules are due for another reason; the caller passes them to
   * reconcileSchedules.
   */
  others: string[];
}> {
  const rows = await db.execute<{
    workflow_id: string;
    job_id: string | null;
    user_id: string;
    kind: WorkflowKind;
  }>(sql`
    WITH /* queueDueSlots */ due AS MATERIALIZED (
      SELECT workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, last_job_id, requested
      FROM schedules WHERE wake_at <= now()
      ORDER BY wake_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), looked AS MATERIALIZED (
      SELECT due.*, state = 'READY' AND next_run_at <= now() AND NOT requested
          AND (last_job_id IS NULL OR last_job.completed_at IS NOT NULL) AS idle
      FROM due
        LEFT JOIN LATERAL (SELECT completed_at FROM jobs WHERE id = due.last_job_id LIMIT 1) last_job ON true
    ), slots AS MATERIALIZED (
      SELECT looked.*, row_number() OVER () AS n, next_run_at + make_interval(mins => interval_minutes *
        floor(extract(epoch FROM now() - next_run_at) / (interval_minutes * 60))::integer) AS slot
      FROM looked WHERE idle
    ), ids AS MATERIALIZED (
      SELECT ${ID_SET}
    ), made AS MATERIALIZED (
      SELECT slots.*, ${idInSet(sql`n`)} AS job_id, slot + make_interval(mins => interval_minutes) AS following FROM ids, slots
    ), advanced AS (
      UPDATE schedules SET last_slot_at = made.slot, next_run_at = made.following, last_job_id = made.job_id,
        waiting = false, wake_at = least(made.following, now() + ${seconds(RECHECK_SECONDS)})
      FROM made WHERE schedules.workflow_id = made.workflow_id
    ), inserted AS (
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, queued_at)
      SELECT job_id, workflow_id, user_id, kind, 'AUTOMATIC', 'QUEUED', generation, slot, now() FROM made
      ON CONFLICT (workflow_id, scheduled_at) WHERE trigger = 'AUTOMATIC' DO NOTHING
    )
    SELECT workflow_id, job_id, user_id, kind FROM made
    UNION ALL SELECT workflow_id, NULL, user_id, kind FROM looked WHERE idle IS NOT TRUE`);
  const dispatched: DispatchedJob[] = [];
  const others: string[] = [];
  for (const row of rows) {
    if (row.job_id === null) others.push(row.workflow_id);
    else dispatched.push({ id: row.job_id, userId: row.user_id, kind: row.kind });
  }
  const changed = dispatched.map(({ userId, id }) => ({ userId, jobs: [id] }));
  return { effects: { ...noEffects, dispatched, changed }, others };
}

/**
 * Milliseconds until the next schedule is due, by the database's clock: 0 if one is due now,
 * undefined if there is none.
 */
export async function nextWakeMs(db: Db): Promise<number | undefined> {
  const [row] = await db.execute<{ ms: number | null }>(sql`
    SELECT /* nextWakeMs */ (extract(epoch FROM min(wake_at) - clock_timestamp()) * 1000)::float8 AS ms
    FROM schedules WHERE wake_at IS NOT NULL`);
  return row?.ms === null || row?.ms === undefined ? undefined : Math.max(row.ms, 0);
}

/**
 * Makes due those schedules of these workflows that wait for the end of a job. Returns their
 * number.
 *
 * It runs after the end is committed, and reconcileSchedules looks for ended jobs after its own
 * commit, so one of the two always sees the other.
 */
export async function wakeWaiting(db: Db, workflowIds: string[]): Promise<number> {
  if (workflowIds.length === 0) return 0;
  const rows = await db.execute(sql`
    WITH /* wakeWaiting */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules
      WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
      ORDER BY workflow_id FOR UPDATE
    )
    UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = locked.workflow_id RETURNING 1`);
  return rows.length;
}
