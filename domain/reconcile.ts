import { ADOPTION_SECONDS, ATTEMPTS_MAX, LEASE_SECONDS, RECHECK_SECONDS, RECHECK_SECONDS_MAX } from './limits.ts';
import type { OverlapPolicy } from './schedule/run-policy.ts';
import type { JobStatus, ScheduleState, WorkflowKind } from './states.ts';

/**
 * A schedule that is due for another reason than a slot of an idle workflow: a job is active, a run
 * is requested, the slot is late, or the workflow is paused or terminated. The decision about it is
 * a pure function, so that every case is one line of a test's table.
 */
export interface Reconcilable {
  kind: WorkflowKind;
  state: ScheduleState;
  /** Seconds to the end of the pause; 'OPEN' if none is set. Undefined if there is no pause. */
  pauseEndsInSeconds: number | 'OPEN' | undefined;
  overlap: OverlapPolicy;
  slotDue: boolean;
  /**
   * Whether the due slot is later than the run policy allows. Never so once a job was canceled for
   * it.
   */
  slotLate: boolean;
  /** Whether the calendar must have more occurrences before the next slot can be known. */
  exhausted: boolean;
  /** Seconds to the run of the next slot; undefined when there is none. */
  nextRunInSeconds: number | undefined;
  requested: boolean;
  lastJob: LastJob | undefined;
  /** How long the database has been reachable without a break, as the scheduling worker sees it. */
  watchedSeconds: number;
}

export interface LastJob {
  status: JobStatus;
  /** Only attempts that count. */
  attempts: number;
  /** Seconds since the job entered its status. */
  ageSeconds: number;
  /** Seconds since its lease expired, negative while it holds. Meaningful when RUNNING. */
  leaseExpiredSeconds: number;
  /** Seconds until it is retried after a failed attempt. Meaningful when PENDING. */
  retryInSeconds: number;
  /** Whether the slot that is due was due when the job was dispatched: a request goes first. */
  beganAfterSlot: boolean;
  cancelRequested: boolean;
}

/**
 * What happens to the schedule or its last job, and when to look at it again. Undefined means that
 * something else will set the time.
 *
 * - SKIP_SLOT: the slots that have passed are dropped and counted.
 * - END_PAUSE: the pause is over. The slots within it are dropped, and not counted.
 * - REPLACE: the last job is canceled. If it runs, its end wakes the schedule.
 * - REFILL: the caller gives the calendar more occurrences.
 */
export interface Decision {
  act:
    | 'NOTHING'
    | 'DISPATCH_AGAIN'
    | 'RETURN'
    | 'FAIL'
    | 'CANCEL'
    | 'DISPATCH_REQUESTED'
    | 'REMOVE'
    | 'SKIP_SLOT'
    | 'END_PAUSE'
    | 'REPLACE'
    | 'REFILL';
  wakeInSeconds: number | undefined;
  waiting: boolean;
}

export function reconcile(schedule: Reconcilable): Decision {
  const { state, pauseEndsInSeconds } = schedule;
  if (state !== 'READY' || pauseEndsInSeconds === undefined) return reconcileJob(schedule);
  if (pauseEndsInSeconds !== 'OPEN' && pauseEndsInSeconds <= 0) return actOnSlots(schedule, 'END_PAUSE');
  // While it is paused, the end of the pause is all that comes by itself.
  const nextRunInSeconds = pauseEndsInSeconds === 'OPEN' ? undefined : pauseEndsInSeconds;
  return reconcileJob({ ...schedule, slotDue: false, nextRunInSeconds });
}

function reconcileJob(schedule: Reconcilable): Decision {
  const { lastJob } = schedule;
  return lastJob !== undefined && isActive(lastJob.status)
    ? reconcileActive(schedule, lastJob)
    : reconcileIdle(schedule);
}

/**
 * What changes next_run_at needs a calendar that reaches as far as now. The next look, which is at
 * once, says whether the schedule waits for its job.
 */
function actOnSlots({ exhausted }: Reconcilable, act: 'SKIP_SLOT' | 'END_PAUSE'): Decision {
  return exhausted ? REFILL : { act, wakeInSeconds: 0, waiting: false };
}

/** The time in which the caller has refilled the calendar. */
const REFILL_SECONDS = 1;
const REFILL: Decision = { act: 'REFILL', wakeInSeconds: REFILL_SECONDS, waiting: false };

/** Seconds before a job whose attempt was lost is tried again: 5, 10, 20, ... */
export function retryDelaySeconds(attempts: number): number {
  return attempts === 0 ? 0 : Math.min(5 * 2 ** (attempts - 1), 300);
}

/**
 * A QUEUED job may wait long in a backlog. Each repeated dispatch adds an event to the backlog, so
 * the looks become rarer with the job's age. They stay more frequent for CONTAINER jobs, where an
 * event of a job that has its turn costs little (db/jobs/turns.ts). After an outage, in which many
 * events may be lost at once, db/jobs/redispatch.ts does not wait for this.
 */
function recheckDelaySeconds(kind: WorkflowKind, ageSeconds: number): number {
  return Math.min(Math.max(ageSeconds, RECHECK_SECONDS), RECHECK_SECONDS_MAX[kind]);
}

function reconcileActive(schedule: Reconcilable, job: LastJob): Decision {
  if (schedule.slotDue && schedule.state === 'READY' && !job.beganAfterSlot) {
    // No job is canceled for a slot that would not run.
    const isDropped = schedule.overlap === 'SKIP' || (schedule.overlap === 'REPLACE' && schedule.slotLate);
    if (isDropped) return actOnSlots(schedule, 'SKIP_SLOT');
    if (schedule.overlap === 'REPLACE' && !job.cancelRequested)
      return { act: 'REPLACE', wakeInSeconds: 0, waiting: true }; // then it looks again
  }
  const waiting = schedule.slotDue || schedule.requested || schedule.state !== 'READY';
  const look = (act: Decision['act'], inSeconds: number): Decision => ({
    act,
    waiting,
    // The next slot must be marked as waiting when it comes, whatever else is due.
    wakeInSeconds: waiting ? inSeconds : Math.min(inSeconds, schedule.nextRunInSeconds ?? inSeconds),
  });
  switch (job.status) {
    case 'PENDING': {
      if (schedule.state === 'TERMINATED') return look('CANCEL', 0);
      const remaining = Math.max(retryDelaySeconds(job.attempts) - job.ageSeconds, job.retryInSeconds);
      return remaining > 0
        ? look('NOTHING', Math.min(remaining, RECHECK_SECONDS_MAX[schedule.kind]))
        : look('DISPATCH_AGAIN', RECHECK_SECONDS);
    }
    case 'QUEUED': {
      if (schedule.state === 'TERMINATED') return look('CANCEL', 0);
      const remaining = RECHECK_SECONDS - job.ageSeconds;
      return remaining > 0
        ? look('NOTHING', remaining)
        : look('DISPATCH_AGAIN', recheckDelaySeconds(schedule.kind, job.ageSeconds));
    }
    default: {
      // After a break of the database, the machine or all processes, every lease has expired. Its
      // owner gets time to renew it, or a worker on the engine gets time to adopt the container.
      const [adoption, comeback] =
        schedule.kind === 'CONTAINER' ? [ADOPTION_SECONDS, ADOPTION_SECONDS] : [0, LEASE_SECONDS];
      const remaining = Math.max(adoption - job.leaseExpiredSeconds, comeback - schedule.watchedSeconds);
      if (remaining > 0) return look('NOTHING', Math.min(Math.max(remaining, 1), RECHECK_SECONDS));
      if (job.cancelRequested) return look('CANCEL', 0);
      if (job.attempts < ATTEMPTS_MAX) return look('RETURN', retryDelaySeconds(job.attempts));
      return look('FAIL', 0);
    }
  }
}

function reconcileIdle(schedule: Reconcilable): Decision {
  if (schedule.state === 'TERMINATED') return { act: 'REMOVE', wakeInSeconds: undefined, waiting: false };
  if (schedule.state === 'BLOCKED') return { act: 'NOTHING', wakeInSeconds: undefined, waiting: false };
  // More runs may be requested. The end of this job looks whether one waits.
  if (schedule.requested) return { act: 'DISPATCH_REQUESTED', wakeInSeconds: RECHECK_SECONDS, waiting: true };
  if (schedule.slotDue) {
    if (schedule.slotLate) return actOnSlots(schedule, 'SKIP_SLOT');
    if (schedule.exhausted) return REFILL;
    return { act: 'NOTHING', wakeInSeconds: 0, waiting: false }; // queueDueSlots makes its job
  }
  const { nextRunInSeconds } = schedule;
  const wakeInSeconds = nextRunInSeconds === undefined ? undefined : Math.max(nextRunInSeconds, 0);
  return { act: 'NOTHING', wakeInSeconds, waiting: false };
}

function isActive(status: JobStatus): boolean {
  return status === 'PENDING' || status === 'QUEUED' || status === 'RUNNING';
}
