import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { eq, sql } from 'drizzle-orm';
import { DEFAULT_RUN_POLICY, MISSED_SECONDS, type RunPolicy } from '../../domain/schedule/run-policy.ts';
import { calendarOf, runsAfter, type Schedule } from '../../domain/schedule/schedule.ts';
import { calendarId } from '../calendars.ts';
import type { Db } from '../client.ts';
import { databaseClockMs } from '../jobs/anchor.ts';
import { schedules, type WorkflowRow } from '../schema.ts';

/** The schedule of a workflow. */
export function scheduleOf({ intervalMinutes, schedule }: WorkflowRow): Schedule {
  if (schedule !== null) return schedule;
  if (intervalMinutes !== null) return { everyMinutes: intervalMinutes };
  throw new Error('A workflow has an interval or another schedule: a CHECK sees to it.');
}

export function storedSchedule(schedule: Schedule): Pick<WorkflowRow, 'intervalMinutes' | 'schedule'> {
  return 'everyMinutes' in schedule
    ? { intervalMinutes: schedule.everyMinutes, schedule: null }
    : { intervalMinutes: null, schedule };
}

export function isSameSchedule(schedule: Schedule, workflow: WorkflowRow): boolean {
  return isDeepStrictEqual(schedule, scheduleOf(workflow));
}

/**
 * Gives the schedule of a locked workflow its new times. A slot that waits is dropped. An interval
 * counts from the last slot; a workflow that had none before and has never run runs at once.
 *
 * The row is locked before the clock is read. Otherwise a slot that becomes a job meanwhile could
 * be the first one of the new schedule too, and would run twice.
 */
export async function changeSchedule(tx: Tx, workflow: WorkflowRow, schedule: Schedule): Promise<void> {
  await ensureSchedule(tx, workflow);
  const ofWorkflow = eq(schedules.workflowId, workflow.id);
  const [row] = await tx.select({ lastSlotAt: schedules.lastSlotAt }).from(schedules).where(ofWorkflow).for('update');
  const timing = await timingOf(tx, workflow.id, schedule, row?.lastSlotAt);
  const { intervalMinutes } = timing;
  const first = workflow.intervalMinutes === null ? sql`now()` : schedules.nextRunAt;
  // The last such slot that has passed, or the first one: slots before it never were.
  const { lastSlotAt } = schedules;
  // The clock may have been set back since the last slot.
  const last = sql`CASE WHEN ${lastSlotAt} > clock_timestamp() THEN now() ELSE ${lastSlotAt} END`;
  const passed = sql`floor(extract(epoch FROM now() - ${last}) / (${intervalMinutes}::integer * 60))`;
  const fromLast = sql`coalesce(${last} + make_interval(mins => ${intervalMinutes}) * greatest(${passed}, 1)::float8, ${first})`;
  await tx
    .update(schedules)
    .set({ ...timing, ...(intervalMinutes === null ? {} : { nextRunAt: fromLast }) })
    .where(ofWorkflow);
}

/**
 * Gives the schedule of a locked workflow another run policy. Its slots stay, and the last one that
 * has made a job is not judged anew: its run was due by the policy before. `isPush` tells that the
 * delay is the grace of pings, which no policy changes.
 */
export async function changePolicy(
  tx: Tx,
  workflow: WorkflowRow,
  { policy, isPush }: { policy: RunPolicy; isPush: boolean },
): Promise<void> {
  await ensureSchedule(tx, workflow);
  const { delaySeconds, ...columns } = policyColumns(workflow.id, policy);
  await tx
    .update(schedules)
    .set({ ...columns, ...(isPush ? {} : { delaySeconds }), lateSlotAt: sql`${schedules.lastSlotAt}` })
    .where(eq(schedules.workflowId, workflow.id));
}

/**
 * A CONTAINER workflow that was never built, and that has an interval and nothing else, has no row
 * of schedules yet.
 */
export async function ensureSchedule(tx: Tx, workflow: WorkflowRow): Promise<void> {
  if (workflow.kind !== 'CONTAINER' || workflow.intervalMinutes === null) return;
  const { id: workflowId, userId, kind, generation, intervalMinutes, runPolicy } = workflow;
  await tx
    .insert(schedules)
    .values({
      workflowId,
      userId,
      kind,
      generation,
      intervalMinutes,
      state: 'BLOCKED',
      ...policyColumns(workflowId, runPolicy),
    })
    .onConflictDoNothing();
}

type Tx = Pick<Db, 'execute' | 'insert' | 'select' | 'update'>;

/** What a row of `schedules` has of a schedule. */
interface Timing {
  intervalMinutes: number | null;
  calendarId: string | null;
  startsAt: Date | null;
  endsAt: Date | null;
  /** The first slot after now. Null if none comes, and for an interval, which has its own rule. */
  nextRunAt: Date | null;
}

const NO_TIMING: Timing = { intervalMinutes: null, calendarId: null, startsAt: null, endsAt: null, nextRunAt: null };

/**
 * The columns of a schedule that begins now. `lastSlotAt` is the last slot that has become a job.
 */
export async function timingOf(
  tx: Pick<Db, 'execute'>,
  workflowId: string,
  schedule: Schedule,
  lastSlotAt: Date | null = null,
): Promise<Timing> {
  if ('everyMinutes' in schedule) return { ...NO_TIMING, intervalMinutes: schedule.everyMinutes };
  if ('at' in schedule) return { ...NO_TIMING, nextRunAt: new Date(schedule.at) };
  if ('manual' in schedule) return NO_TIMING;
  const { cron } = schedule;
  const now = new Date(await databaseClockMs(tx));
  const [first = null, second = null] = runsAfter(schedule, now, 2, workflowId);
  // As in replan.ts: the clock may come again to the last slot.
  const hasRun = first !== null && lastSlotAt !== null && first <= lastSlotAt && (!second || lastSlotAt < second);
  return {
    ...NO_TIMING,
    calendarId: await calendarId(tx, calendarOf(cron, workflowId), now),
    startsAt: cron.startsAt === undefined ? null : new Date(cron.startsAt),
    endsAt: cron.endsAt === undefined ? null : new Date(cron.endsAt),
    nextRunAt: hasRun ? second : first,
  };
}

/** When the transaction began, by the clock of the database, in milliseconds since 1970. */
export async function transactionMs(tx: Pick<Db, 'execute'>): Promise<number> {
  const [row] = await tx.execute<{ ms: number }>(sql`
    SELECT /* transactionMs */ (extract(epoch FROM now()) * 1000)::float8 AS ms`);
  if (row === undefined) throw new Error('The database did not say its time.');
  return row.ms;
}

/** What a row of `schedules` has of a run policy. */
export function policyColumns(workflowId: string, policy: RunPolicy | null) {
  const { overlap, missedRuns, startWithinSeconds, spreadSeconds, ...watched } = policy ?? DEFAULT_RUN_POLICY;
  const bounds = [
    startWithinSeconds ?? Number.POSITIVE_INFINITY,
    missedRuns === 'SKIP' ? MISSED_SECONDS : Number.POSITIVE_INFINITY,
  ];
  const lateSeconds = Math.min(...bounds);
  return {
    overlap,
    lateSeconds: Number.isFinite(lateSeconds) ? lateSeconds : null,
    delaySeconds: delaySeconds(workflowId, spreadSeconds),
    lateAfterSeconds: watched.lateAfterSeconds,
    expectedMaxSeconds: watched.expectedMaxSeconds,
    watchesEnds: watched.expectedMinSeconds !== null,
  };
}

/** The part of `spreadSeconds` that a workflow waits: always the same, and evenly spread. */
function delaySeconds(workflowId: string, spreadSeconds: number): number {
  if (spreadSeconds === 0) return 0;
  return createHash('sha256').update(workflowId).digest().readUInt32BE() % spreadSeconds;
}
