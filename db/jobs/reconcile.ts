import { type SQL, sql } from 'drizzle-orm';
import { type DispatchedJob, type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { isoTime } from '../../domain/iso-time.ts';
import { type Decision, type Reconcilable, reconcile } from '../../domain/reconcile.ts';
import type { OverlapPolicy } from '../../domain/schedule/run-policy.ts';
import { isEnded, type JobStatus, type ScheduleState, type WorkflowKind } from '../../domain/states.ts';
import { recordAlerts } from '../alerts/record.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { cancelJobs, cancelRequests } from '../ends/cancel-jobs.ts';
import { endColumns } from '../ends/columns.ts';
import { CHANGED_COLUMNS, type ChangedJob, COUNT_CHANGED, failureEffects, jobEffects } from '../ends/jobs.ts';
import { eachDay, eachDayOf } from '../job-days.ts';
import { storedLines } from '../logs/markers.ts';
import { notificationEffects, notify } from '../notifications.ts';
import { rowSet } from '../row-set.ts';
import { markAwaited } from './dispatch.ts';
import { expectedPing } from './next-ping.ts';
import { slotsUntil } from './slots.ts';

type ScheduleRow = {
  workflow_id: string;
  user_id: string;
  kind: WorkflowKind;
  state: ScheduleState;
  paused: boolean;
  pause_ends_in: number | null;
  overlap: OverlapPolicy;
  slot: Date | null;
  /** When the slot runs, in milliseconds since 1970. */
  slot_runs_ms: number | null;
  slot_due: boolean | null;
  slot_late: boolean | null;
  exhausted: boolean | null;
  calendar_id: string | null;
  next_run_in: number | null;
  request_id: string | null;
  last_job_id: string | null;
  read_at_ms: number;
};

type LastJobRow = {
  id: string;
  status: JobStatus;
  attempts: number;
  age: number;
  lease_expired: number | null;
  retry_in: number | null;
  queued_ms: number | null;
  cancel_requested: boolean;
  read_at_ms: number;
};

/** A schedule, and its last job unless that is gone. */
type Row = ScheduleRow & { job: LastJobRow | undefined };

/**
 * Acts on schedules that are due for another reason than a slot of an idle workflow
 * (domain/reconcile.ts decides how). It finds lost events and lost workers, dispatches requested
 * jobs, drops slots, ends pauses, and removes the schedules of terminated workflows.
 *
 * Locks: schedules, then jobs. It skips jobs that another transaction has locked, because their
 * worker is ending them now; the next look handles them. It waits only for the jobs that
 * lockChanging locks first, in the order of their ids: waiting while holding other jobs could
 * deadlock.
 */
export async function reconcileSchedules(
  db: Db,
  workflowIds: string[],
  {
    watchedSeconds,
  }: {
    /**
     * For how many seconds the database has been reachable without a break
     * (workers/scheduling/database-watch.ts). Called after the rows are read, with the time of
     * the database at that.
     */
    watchedSeconds: (databaseMs: number) => number;
  },
): Promise<{
  effects: Effects;
  /** Whether some of the schedules are due again now. */
  again: boolean;
  /** Calendars that must have more occurrences (extendCalendars) before their schedules go on. */
  exhausted: string[];
}> {
  const { effects, again, waiting, exhausted } = await db.transaction(async (tx) => {
    const locked = await tx.execute<{ workflow_id: string }>(sql`
      SELECT /* reconcileSchedules */ workflow_id FROM schedules
      WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND wake_at <= clock_timestamp()
      ORDER BY workflow_id FOR UPDATE SKIP LOCKED`);
    // A separate statement: its snapshot is newer than the locks, so it sees what the last holder
    // of the locks made.
    const rows = await readSchedules(
      tx,
      locked.map((row) => row.workflow_id),
    );
    const watched = watchedSeconds(Math.max(...rows.map((row) => row.job?.read_at_ms ?? row.read_at_ms)));
    const decided = rows.map((row) => ({
      row,
      decision: reconcile({ ...toReconcilable(row), watchedSeconds: watched }),
    }));
    const of = (act: Decision['act']) => decided.filter(({ decision }) => decision.act === act).map(({ row }) => row);

    const requested = of('DISPATCH_REQUESTED');
    const dispatched = [
      ...of('DISPATCH_AGAIN').map((row) => ({ id: row.job?.id ?? '', userId: row.user_id, kind: row.kind })),
      ...requested.map((row) => ({ id: row.request_id ?? '', userId: row.user_id, kind: row.kind })),
    ];
    const replaced = jobIds(of('REPLACE'));
    await lockChanging(tx, { dispatched, removed: of('REMOVE'), replaced });
    const replacing = await cancelJobs(tx, replaced, REPLACED);
    const ended = await endOrReturn(tx, {
      returned: jobIds(of('RETURN')),
      failed: jobIds(of('FAIL')),
      canceled: jobIds(of('CANCEL')),
    });
    await takeRequests(tx, requested);
    await markQueued(
      tx,
      dispatched.map(({ id }) => id),
    );
    const removed = await removeTerminated(tx, of('REMOVE'));
    const skipped = await skipSlots(tx, of('SKIP_SLOT'));
    const resumed = await endPauses(tx, of('END_PAUSE'));
    await setWake(tx, decided);

    const again = decided.some(({ decision }) => decision.wakeInSeconds === 0 || decision.act === 'DISPATCH_REQUESTED');
    const changed = dispatched.map(({ userId, id }) => ({ userId, jobs: [id] }));
    return {
      effects: mergeEffects({ ...noEffects, dispatched, changed }, ended, replacing, removed, skipped, resumed),
      again,
      exhausted: of('REFILL').flatMap((row) => row.calendar_id ?? []),
      waiting: decided.filter(({ decision }) => decision.waiting).map(({ row }) => row),
    };
  });
  await markAwaited(db, jobIds(waiting)); // not under the locks of schedules: it waits for jobs
  const woken = await wakeEnded(
    db,
    waiting.map((row) => row.workflow_id),
  );
  return { effects, again: woken > 0 || again, exhausted };
}

type Transaction = Pick<Db, 'execute'>;

async function readSchedules(tx: Transaction, workflowIds: string[]): Promise<Row[]> {
  if (workflowIds.length === 0) return [];
  const schedules = await tx.execute<ScheduleRow>(sql`
    SELECT /* readSchedules */ ${READ_AT}, s.workflow_id, s.user_id, s.kind, s.state, s.paused, s.overlap, s.calendar_id, s.last_job_id,
      extract(epoch FROM s.paused_until - clock_timestamp())::float8 AS pause_ends_in, slot, exhausted,
      (extract(epoch FROM slot + make_interval(secs => s.delay_seconds)) * 1000)::float8 AS slot_runs_ms,
      s.next_run_at <= ${RUNS_NOW} AS slot_due, slot < ${RUNS_NOW} - make_interval(secs => s.late_seconds) AND s.replacing_slot_at IS DISTINCT FROM s.next_run_at AS slot_late,
      extract(epoch FROM s.next_run_at - ${RUNS_NOW})::float8 AS next_run_in, request.job_id AS request_id
    FROM schedules s
      LEFT JOIN LATERAL (
        SELECT job_id FROM run_requests WHERE workflow_id = s.workflow_id ORDER BY job_id LIMIT 1) request ON true
      ${slotsUntil('s', sql`CASE WHEN s.paused THEN s.paused_until ELSE ${RUNS_NOW} END`)}
    WHERE s.workflow_id = ANY(${array(workflowIds, 'uuid')})`);
  const lastJobs = schedules.flatMap((schedule) => schedule.last_job_id ?? []);
  const read = (jobs: SQL, ids: string[]) =>
    tx.execute<LastJobRow>(sql`
    SELECT /* readSchedules */ ${READ_AT}, id, status, attempt - uncounted_attempts - retries AS attempts,
      extract(epoch FROM retry_at - clock_timestamp())::float8 AS retry_in, (extract(epoch FROM queued_at) * 1000)::float8 AS queued_ms,
      extract(epoch FROM clock_timestamp() - updated_at)::float8 AS age,
      extract(epoch FROM clock_timestamp() - lease_expires_at)::float8 AS lease_expired, cancel_requested_at IS NOT NULL AS cancel_requested
    FROM ${jobs} WHERE id = ANY(${array(ids, 'uuid')})`);
  const found = new Map((await eachDayOf(tx, lastJobs, read)).map((job) => [job.id, job]));
  return schedules.map((schedule) => ({ ...schedule, job: found.get(schedule.last_job_id ?? '') }));
}

/** The slots of the schedule `s` up to this instant run now. */
const RUNS_NOW = sql`(clock_timestamp() - make_interval(secs => s.delay_seconds))`;

const READ_AT = sql`(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS read_at_ms`;

function toReconcilable(row: Row): Omit<Reconcilable, 'watchedSeconds'> {
  return {
    kind: row.kind,
    state: row.state,
    pauseEndsInSeconds: row.paused ? (row.pause_ends_in ?? 'OPEN') : undefined,
    overlap: row.overlap,
    slotLate: row.slot_late ?? false,
    exhausted: row.exhausted ?? false,
    slotDue: row.slot_due ?? false,
    nextRunInSeconds: row.next_run_in ?? undefined,
    requested: row.request_id !== null,
    lastJob: row.job && {
      status: row.job.status,
      attempts: row.job.attempts,
      ageSeconds: row.job.age,
      leaseExpiredSeconds: row.job.lease_expired ?? 0,
      retryInSeconds: row.job.retry_in ?? 0,
      beganAfterSlot: (row.job.queued_ms ?? 0) > (row.slot_runs_ms ?? 0),
      cancelRequested: row.job.cancel_requested,
    },
  };
}

function jobIds(rows: Row[]): string[] {
  return rows.flatMap((row) => row.job?.id ?? []);
}

/**
 * Locks the jobs that markQueued and cancelJobs change: the jobs to dispatch, those to replace, and
 * the requested jobs of removed workflows.
 */
async function lockChanging(
  tx: Transaction,
  { dispatched, removed, replaced }: { dispatched: DispatchedJob[]; removed: Row[]; replaced: string[] },
): Promise<void> {
  if (dispatched.length + removed.length + replaced.length === 0) return;
  const workflowIds = removed.map((row) => row.workflow_id);
  const requested =
    removed.length === 0
      ? []
      : await tx.execute<{ id: string }>(sql`
    SELECT /* lockChanging */ job_id AS id FROM run_requests WHERE workflow_id = ANY(${array(workflowIds, 'uuid')})`);
  const ids = [...[...dispatched, ...requested].map(({ id }) => id), ...replaced];
  await eachDayOf(tx, ids, (jobs, ofDay) =>
    tx.execute(sql`
    SELECT /* lockChanging */ FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')})
      AND (status = 'PENDING' OR completed_at IS NULL AND id = ANY(${array(replaced, 'uuid')}))
    ORDER BY id FOR NO KEY UPDATE`),
  );
}

/**
 * Lost attempts go back to PENDING, or fail as SYSTEM, which changes no failure count. Jobs of
 * terminated workflows are canceled, and so are lost jobs whose cancellation was requested. The
 * statement checks the lease again: a worker that renewed it meanwhile keeps its job.
 */
async function endOrReturn(
  tx: Transaction,
  { returned, failed, canceled }: { returned: string[]; failed: string[]; canceled: string[] },
): Promise<Effects> {
  if (returned.length + failed.length + canceled.length === 0) return noEffects;
  const targets = [
    ...returned.map((id) => ({ id, status: 'PENDING' })),
    ...failed.map((id) => ({ id, status: 'FAILED' })),
    ...canceled.map((id) => ({ id, status: 'CANCELED' })),
  ];
  const change = (jobs: SQL, ofDay: typeof targets) =>
    tx.execute<ChangedJob>(sql`
    WITH /* endOrReturn */ target AS MATERIALIZED (
      SELECT u.id, u.status AS new_status FROM ${rowSet('u', ofDay, { id: 'uuid', status: 'text' })}, LATERAL (
        SELECT FROM ${jobs} WHERE jobs.id = u.id AND (
          jobs.status = 'RUNNING' AND lease_expires_at < now() -- when this began: none that was renewed since, however long ago
          OR jobs.status IN ('PENDING', 'QUEUED') AND u.status = 'CANCELED')
        LIMIT 1 FOR UPDATE SKIP LOCKED) lost
    ), changed AS (
      UPDATE ${jobs} SET status = new_status, updated_at = now(),
        failure_reason = CASE WHEN new_status = 'FAILED' THEN 'SYSTEM' END,
        failure_message = CASE WHEN new_status = 'FAILED' THEN ${LOST_MESSAGE}
          WHEN new_status = 'PENDING' OR cancel_requested_at IS NOT NULL THEN failure_message END, -- of the attempt before, or why it was canceled
        retry_at = NULL, started_at = CASE WHEN new_status <> 'PENDING' THEN started_at END,
        log_line_count = ${storedLines(sql`jobs.id`)},
        lost_attempt = CASE WHEN new_status = 'PENDING' AND kind = 'CONTAINER' THEN attempt ELSE lost_attempt END,
        ${endColumns('jobs', { ends: sql`new_status <> 'PENDING'`, linesMayFollow: sql`attempt > 0` })}
      FROM target WHERE jobs.id = ANY(ARRAY[target.id]) RETURNING ${CHANGED_COLUMNS}
    ), ${COUNT_CHANGED}
    SELECT * FROM changed`);
  const jobs = await eachDay(tx, targets, ({ id }) => id, change);
  const failures = jobs.filter((job) => job.status === 'FAILED');
  const events = failures.map(({ id: jobId, workflow_id: workflowId }) => ({
    ...{ kind: 'JOB_FAILED' as const, event: 'JOB_FAILED' as const },
    ...{ workflowId, jobId, detail: LOST_MESSAGE },
  }));
  const notified = await notify(tx, events);
  await recordAlerts(tx, events);
  return mergeEffects(jobEffects(jobs), failureEffects(jobs), notificationEffects(notified));
}

const LOST_MESSAGE = 'The worker that ran it was lost, and so was each one that tried again.';

const REPLACED = 'It was canceled because the next slot was due, and replaces it.';

/** PENDING -> QUEUED. Jobs that are already QUEUED do not change. */
async function markQueued(tx: Transaction, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  await eachDayOf(tx, ids, (jobs, ofDay) =>
    tx.execute(sql`
    UPDATE /* markQueued */ ${jobs} SET status = 'QUEUED', queued_at = now(), updated_at = now()
    WHERE id = ANY(${array(ofDay, 'uuid')}) AND status = 'PENDING'`),
  );
}

async function takeRequests(tx: Transaction, rows: Row[]): Promise<void> {
  if (rows.length === 0) return;
  const jobIds = rows.map((row) => row.request_id);
  await tx.execute(sql`
    DELETE /* takeRequests */ FROM run_requests WHERE job_id = ANY(${array(jobIds, 'uuid')})`);
}

/**
 * Removes the schedules of terminated workflows whose last job has ended, and cancels their
 * requested jobs.
 */
async function removeTerminated(tx: Transaction, rows: Row[]): Promise<Effects> {
  if (rows.length === 0) return noEffects;
  const ids = rows.map((row) => row.workflow_id);
  const canceled = await cancelRequests(tx, ids);
  await tx.execute(sql`DELETE /* removeTerminated */ FROM schedules WHERE workflow_id = ANY(${array(ids, 'uuid')})`);
  return canceled;
}

/**
 * Drops the slots that have passed, and counts them. The owner of a workflow gets at most one
 * notice in SKIP_NOTICE_HOURS, so that a workflow whose jobs often run over is no flood.
 */
async function skipSlots(tx: Transaction, rows: Row[]): Promise<Effects> {
  if (rows.length === 0) return noEffects;
  const ids = rows.map((row) => row.workflow_id);
  const isDue = sql`skip_notified_at > now() - make_interval(hours => ${SKIP_NOTICE_HOURS})`;
  const advanced = await tx.execute<{ workflow_id: string; is_new: boolean }>(sql`
    WITH /* skipSlots */ passed AS MATERIALIZED (
      SELECT s.workflow_id, slots.following, slots.passed, (${isDue}) IS NOT TRUE AS is_new, coalesce(start_grace_seconds, s.delay_seconds) AS delay
      FROM schedules s ${expectedPing('s')} ${slotsUntil('s', RUNS_NOW)} WHERE s.workflow_id = ANY(${array(ids, 'uuid')})
        AND s.next_run_at <= ${RUNS_NOW} AND exhausted IS NOT TRUE -- the last occurrence may have passed since it was read
    )
    UPDATE schedules SET next_run_at = following, delay_seconds = delay, skipped_run_count = skipped_run_count + passed + 1,
      skip_notified_at = CASE WHEN is_new THEN now() ELSE skip_notified_at END
    FROM passed WHERE schedules.workflow_id = ANY(ARRAY[passed.workflow_id]) RETURNING schedules.workflow_id, is_new`);
  const isNew = new Map(advanced.map((row) => [row.workflow_id, row.is_new]));
  const dropped = rows.filter((row) => isNew.has(row.workflow_id));
  const events = dropped
    .filter((row) => isNew.get(row.workflow_id))
    .map((row) => ({ kind: 'RUN_SKIPPED' as const, workflowId: row.workflow_id, detail: skippedBecause(row) }));
  const changed = dropped.map((row) => ({ userId: row.user_id, workflows: [row.workflow_id] }));
  const skipped = dropped.map((row) => ({
    workflowId: row.workflow_id,
    userId: row.user_id,
    message: skippedBecause(row),
  }));
  return mergeEffects({ ...noEffects, changed, skipped }, notificationEffects(await notify(tx, events)));
}

const SKIP_NOTICE_HOURS = 1;

function skippedBecause({ slot, overlap, job }: Row): string {
  const run = `The run of ${slot === null ? 'a slot' : isoTime(new Date(slot))}`;
  return job !== undefined && !isEnded(job.status) && overlap === 'SKIP'
    ? `${run} was skipped because the job before it had not ended.`
    : `${run} was skipped because it could not start in time.`;
}

/**
 * Goes on behind the pause. The slots within it never run, and are not counted as skipped. A
 * schedule without a next slot stays without: a push heartbeat that had no ping yet.
 *
 * The end of a run that has not said so is expected when its grace has passed, and not before one
 * grace behind the pause. Any other ping has its own grace.
 */
async function endPauses(tx: Transaction, rows: Row[]): Promise<Effects> {
  if (rows.length === 0) return noEffects;
  const ids = rows.map((row) => row.workflow_id);
  await tx.execute(sql`
    WITH /* endPauses */ paused AS MATERIALIZED (
      SELECT s.workflow_id, CASE WHEN open_since IS NOT NULL THEN open_since
          WHEN s.next_run_at > s.paused_until OR s.next_run_at IS NULL THEN s.next_run_at ELSE slots.following END AS next_slot,
        CASE WHEN open_since IS NULL THEN coalesce(start_grace_seconds, s.delay_seconds)
          ELSE greatest(run_grace_seconds, ceil(extract(epoch FROM s.paused_until - open_since))::integer + start_grace_seconds) END AS delay
      FROM schedules s ${expectedPing('s')} ${slotsUntil('s', sql`s.paused_until`)} WHERE s.workflow_id = ANY(${array(ids, 'uuid')})
        AND s.paused AND exhausted IS NOT TRUE -- the calendar may have changed since it was read
    )
    UPDATE schedules SET paused = false, paused_until = NULL, next_run_at = next_slot, delay_seconds = delay
    FROM paused WHERE schedules.workflow_id = ANY(ARRAY[paused.workflow_id])`);
  return { ...noEffects, changed: rows.map((row) => ({ userId: row.user_id, workflows: [row.workflow_id] })) };
}

/**
 * A schedule forgets a job that has ended: queueDueSlots sees only the ends of jobs that were made
 * today or yesterday.
 */
function activeJob({ job }: Row): string | undefined {
  return job === undefined || isEnded(job.status) ? undefined : job.id;
}

async function setWake(tx: Transaction, decided: { row: Row; decision: Decision }[]): Promise<void> {
  if (decided.length === 0) return;
  const wakes = decided.map(({ row, decision }) => ({
    workflowId: row.workflow_id,
    wakeInSeconds: decision.wakeInSeconds,
    waiting: decision.waiting,
    replaces: decision.act === 'REPLACE',
    lastJobId: decision.act === 'DISPATCH_REQUESTED' ? row.request_id : activeJob(row),
  }));
  await tx.execute(sql`
    UPDATE /* setWake */ schedules SET wake_at = clock_timestamp() + make_interval(secs => u.wake_in_seconds), waiting = u.waiting,
      replacing_slot_at = CASE WHEN u.replaces THEN next_run_at ELSE replacing_slot_at END, last_job_id = u.last_job_id, requested = EXISTS (
        SELECT FROM run_requests WHERE workflow_id = u.workflow_id OFFSET 0) -- without this fence all requests are hashed
    FROM ${rowSet('u', wakes, {
      workflowId: 'uuid',
      wakeInSeconds: 'double precision',
      waiting: 'boolean',
      replaces: 'boolean',
      lastJobId: 'uuid',
    })}
    WHERE schedules.workflow_id = ANY(ARRAY[u.workflow_id])`);
}

/**
 * Makes schedules due whose job ended while they were being marked as waiting. For them wakeWaiting
 * ran too early.
 */
async function wakeEnded(db: Db, workflowIds: string[]): Promise<number> {
  if (workflowIds.length === 0) return 0;
  const waiting = await db.execute<{ id: string; workflow_id: string }>(sql`
    SELECT /* wakeEnded */ workflow_id, last_job_id AS id FROM schedules
    WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND waiting AND last_job_id IS NOT NULL`);
  const read = (jobs: SQL, ids: string[]) =>
    db.execute<{ id: string }>(sql`
    SELECT /* wakeEnded */ id FROM ${jobs} WHERE id = ANY(${array(ids, 'uuid')}) AND completed_at IS NOT NULL`);
  if (waiting.length === 0) return 0;
  const lastJobs = waiting.map(({ id }) => id);
  const ended = new Set((await eachDayOf(db, lastJobs, read)).map(({ id }) => id));
  const workflowsToWake = waiting.filter(({ id }) => ended.has(id)).map((row) => row.workflow_id);
  const rows = await db.execute(sql`
    WITH /* wakeEnded */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules
      WHERE workflow_id = ANY(${array(workflowsToWake, 'uuid')}) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
        AND last_job_id = ANY(${array([...ended], 'uuid')})
      ORDER BY workflow_id FOR UPDATE
    )
    UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING 1`);
  return rows.length;
}
