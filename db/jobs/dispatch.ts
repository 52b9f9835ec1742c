import { sql } from 'drizzle-orm';
import { type DispatchedJob, type Effects, noEffects, type UserChange } from '../../domain/effects.ts';
import { RECHECK_SECONDS } from '../../domain/limits.ts';
import type { WorkflowKind } from '../../domain/states.ts';
import { array, seconds, words } from '../arrays.ts';
import type { Db } from '../client.ts';
import { ID_SET, idInSet } from '../ids.ts';
import { eachDayOf, recentJob, withJobDay } from '../job-days.ts';
import { slotsUntil } from './slots.ts';

/**
 * Turns due slots of idle workflows into QUEUED jobs, in one statement over at most `limit`
 * schedules whose wake_at has come.
 *
 * - Jobs are QUEUED before their event is sent. Marking them afterwards would race the claim and
 *   write each row twice. A crash in between leaves QUEUED jobs without an event; the wake_at of
 *   their schedules finds them.
 * - One job for each slot rests on the lock of the schedule: the statement that makes the job moves
 *   next_run_at behind the slot.
 * - It finds the locked rows by their place. A row that changed between the snapshot and its lock
 *   has another place, which the snapshot does not see: the next pass, which is due at once, takes
 *   it.
 * - The slot is the last one that has passed. Slots before it, missed while the system was down or
 *   a job ran over, are skipped and counted. slots.ts computes it.
 * - A slot that is too late for its run policy makes no job, and neither does one of a calendar
 *   that must have more occurrences first. reconcileSchedules acts on them. A slot that a job was
 *   canceled for is never too late: the time that the job took to stop is not its own.
 * - Any number of schedulers may run this: each takes rows that no other holds. A row that another
 *   scheduler has advanced meanwhile is read again under the lock and no longer matches, because
 *   advancing moves wake_at into the future.
 * - A last job that the snapshot does not contain (another scheduler has just made it) counts as
 *   active. So does one that is gone, or that was made before yesterday. reconcileSchedules reads
 *   with a snapshot that was taken under the lock, and distinguishes them.
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
  const queue = async () => {
    const lastJob = await recentJob(db, sql`due.last_job_id`, sql`completed_at`);
    return db.execute<Dispatched | { kind: null; user_id: null; ids: string }>(sql`
    WITH /* queueDueSlots */ due AS MATERIALIZED (
      SELECT ctid AS tid, workflow_id, last_job_id, next_run_at, interval_minutes, calendar_id, ends_at, late_seconds, delay_seconds,
        replacing_slot_at = next_run_at AS replaces, state = 'READY' AND NOT paused AND next_run_at <= ${RUNS_NOW} AND NOT requested AS has_slot
      FROM schedules WHERE wake_at <= now()
      ORDER BY wake_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), looked AS MATERIALIZED (
      SELECT tid, workflow_id, slot, following, passed, delay_seconds,
        has_slot AND (last_job_id IS NULL OR last_job.completed_at IS NOT NULL) AND exhausted IS NOT TRUE
          AND (slot < ${RUNS_NOW} - make_interval(secs => late_seconds) AND replaces IS NOT TRUE) IS NOT TRUE AS makes_job
      FROM due
        LEFT JOIN LATERAL ${lastJob} last_job ON true
        ${slotsUntil('due', RUNS_NOW)}
    ), ids AS MATERIALIZED (
      SELECT ${ID_SET}
    ), made AS MATERIALIZED (
      SELECT tid, slot, following, passed, following + make_interval(secs => delay_seconds) AS runs_at, ${idInSet(sql`row_number() OVER ()`)} AS job_id
      FROM looked, ids WHERE makes_job
    ), advanced AS (
      UPDATE schedules SET last_slot_at = slot, next_run_at = following, last_job_id = job_id, waiting = false,
        skipped_run_count = skipped_run_count + passed, wake_at = least(runs_at, now() + ${seconds(RECHECK_SECONDS)})
      FROM made WHERE schedules.ctid = tid
      RETURNING job_id, workflow_id, user_id, kind, generation, failing OR watches_ends AS after_failure, slot
    ), inserted AS (
      INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, queued_at, after_failure, awaited)
      SELECT job_id, workflow_id, user_id, kind, 'AUTOMATIC', 'QUEUED', generation, slot, now(), after_failure, false FROM advanced
    )
    SELECT kind, user_id, string_agg(job_id::text, ' ') AS ids FROM advanced GROUP BY kind, user_id
    UNION ALL SELECT NULL, NULL, string_agg(workflow_id::text, ' ') FROM looked WHERE makes_job IS NOT TRUE HAVING count(*) > 0`);
  };
  const rows = await withJobDay(db, queue);
  const dispatched: DispatchedJob[] = [];
  const changed: UserChange[] = [];
  const others: string[] = [];
  for (const row of rows) {
    const ids = words(row.ids);
    if (row.kind === null) {
      others.push(...ids);
    } else {
      for (const id of ids) dispatched.push({ id, userId: row.user_id, kind: row.kind });
      changed.push({ userId: row.user_id, jobs: ids });
    }
  }
  return { effects: { ...noEffects, dispatched, changed }, others };
}

/** The slots up to this instant run now. */
const RUNS_NOW = sql`now() - make_interval(secs => delay_seconds)`;

type Dispatched = { kind: WorkflowKind; user_id: string; ids: string };

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
 * A schedule is marked as waiting before its job is marked as awaited, and reconcileSchedules looks
 * for ended jobs after both marks are committed. An end that commits before the mark of its job
 * wakes nobody, and reconcileSchedules sees it. An end that finds the mark runs this after its
 * commit. So one of the two always sees the other.
 */
export async function wakeWaiting(db: Db, workflowIds: string[]): Promise<number> {
  if (workflowIds.length === 0) return 0;
  const rows = await db.execute(sql`
    WITH /* wakeWaiting */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules
      WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
      ORDER BY workflow_id FOR UPDATE
    )
    UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING 1`);
  return rows.length;
}

/** Marks jobs that have not ended, so that their ends wake the schedules that wait for them. */
export async function markAwaited(db: Db, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  await eachDayOf(db, ids, (jobs, ofDay) =>
    db.execute(sql`
    WITH /* markAwaited */ locked AS MATERIALIZED (
      SELECT id FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')}) AND completed_at IS NULL AND NOT awaited
      ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE ${jobs} SET awaited = true FROM locked WHERE jobs.id = ANY(ARRAY[locked.id])`),
  );
}
