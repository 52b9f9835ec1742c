import type { ScheduleRow } from '../../db/lookup.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { isPaused } from '../../db/workflows/pause.ts';
import { scheduleOf } from '../../db/workflows/schedule.ts';
import { EXPRESSIONS_MAX } from '../../domain/schedule/cron-expression.ts';
import { isShifted, localTime } from '../../domain/schedule/occurrences.ts';
import { calendarOf, type Schedule, upcomingRuns } from '../../domain/schedule/schedule.ts';
import { inSlices } from '../../platform/async/slices.ts';
import { pageSize } from '../paging.ts';
import { builder } from './builder.ts';
import { cost, EXPRESSIONS_COST } from './cost.ts';

type Cron = Extract<Schedule, { cron: unknown }>;
/** A schedule, and the id of its workflow, which decides what an H stands for. */
export type Of<T> = T & { workflowId?: string | undefined };

const IntervalSchedule = builder.objectRef<Of<Extract<Schedule, { everyMinutes: number }>>>('IntervalSchedule');
IntervalSchedule.implement({
  description: 'A workflow runs at once, and then at an interval.',
  fields: (t) => ({
    everyMinutes: t.exposeInt('everyMinutes', { description: 'Minutes from one slot to the next.' }),
  }),
});

const CronSchedule = builder.objectRef<Of<Cron>>('CronSchedule');
CronSchedule.implement({
  description: 'A workflow runs when one of the cron expressions says so.',
  fields: (t) => ({
    expressions: t.stringList({
      description: 'The expressions, as they were given.',
      extensions: cost({ itemsMax: EXPRESSIONS_MAX }),
      resolve: ({ cron }) => cron.expressions,
    }),
    resolvedExpressions: t.stringList({
      description: 'The expressions in numbers: each H is what it stands for in this workflow.',
      extensions: cost({ base: EXPRESSIONS_COST, itemsMax: EXPRESSIONS_MAX }),
      resolve: ({ cron, workflowId }) =>
        inSlices(() => calendarOf(cron, workflowId).expressions.map(({ canonical }) => canonical)),
    }),
    timeZone: t.string({ description: 'The time zone, as it was given.', resolve: ({ cron }) => cron.timeZone }),
    startsAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'No slot is before this time. Null if there is no such time.',
      resolve: ({ cron }) => cron.startsAt ?? null,
    }),
    endsAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Every slot is before this time. Null if there is no such time.',
      resolve: ({ cron }) => cron.endsAt ?? null,
    }),
  }),
});

const OneTimeSchedule = builder.objectRef<Of<Extract<Schedule, { at: string }>>>('OneTimeSchedule');
OneTimeSchedule.implement({
  description: 'A workflow runs once.',
  fields: (t) => ({
    at: t.field({ type: 'DateTime', description: 'When the workflow runs.', resolve: ({ at }) => at }),
  }),
});

const ManualSchedule = builder.objectRef<Of<Extract<Schedule, { manual: true }>>>('ManualSchedule');
ManualSchedule.implement({
  description: 'A workflow runs only when `runWorkflow` is called.',
  fields: (t) => ({ manual: t.exposeBoolean('manual', { description: 'Always true.' }) }),
});

export const WorkflowSchedule = builder.unionType('WorkflowSchedule', {
  description: 'When a workflow runs by itself.',
  types: [IntervalSchedule, CronSchedule, OneTimeSchedule, ManualSchedule],
  resolveType: (schedule) =>
    'everyMinutes' in schedule
      ? IntervalSchedule
      : 'cron' in schedule
        ? CronSchedule
        : 'at' in schedule
          ? OneTimeSchedule
          : ManualSchedule,
});

const CronScheduleInput = builder.inputType('CronScheduleInput', {
  description: 'When cron expressions run.',
  fields: (t) => ({
    expressions: t.stringList({
      required: true,
      description:
        'One to ten expressions of five fields: minute, hour, day of month, month and weekday. A time that several of them give counts once.',
    }),
    timeZone: t.string({
      description: 'The time zone in which they are read: an IANA name like "Europe/Berlin", or "UTC", the default.',
    }),
    startsAt: t.field({ type: 'DateTime', description: 'No slot is before this time.' }),
    endsAt: t.field({ type: 'DateTime', description: 'Every slot is before this time.' }),
  }),
});

export const ScheduleInput = builder.inputType('ScheduleInput', {
  description: 'When a workflow runs by itself. Give exactly one of these fields.',
  isOneOf: true,
  fields: (t) => ({
    everyMinutes: t.int({ description: 'At once, and then every so many minutes: 1 to 525,600.' }),
    cron: t.field({ type: CronScheduleInput, description: 'When cron expressions say so.' }),
    at: t.field({ type: 'DateTime', description: 'Once, at this time in the future.' }),
    manual: t.boolean({ description: 'Only when `runWorkflow` is called: true.' }),
  }),
});

interface Run {
  at: Date;
  timeZone: string;
  shifted: boolean;
}

export const ScheduledRun = builder.objectRef<Run>('ScheduledRun');
ScheduledRun.implement({
  description: 'A slot that is to come.',
  fields: (t) => ({
    at: t.field({ type: 'DateTime', description: 'When the slot is due.', resolve: ({ at }) => at }),
    localTime: t.string({
      description: 'The same in the time zone of the schedule, with its offset, like "2027-03-28T03:00:00+02:00".',
      resolve: ({ at, timeZone }) => localTime(at, timeZone),
    }),
    shifted: t.boolean({
      description: 'Whether the clock skips the time that the schedule names, so that the slot comes right after it.',
      resolve: ({ shifted }) => shifted,
    }),
  }),
});

export const UPCOMING_RUNS = 10;
export const UPCOMING_RUNS_MAX = 100;

/** How many slots are asked for. Throws BAD_REQUEST. */
export function runCount(first: number | null | undefined): number {
  return pageSize({ first: first ?? null }, UPCOMING_RUNS, UPCOMING_RUNS_MAX).count;
}

export function toRuns(schedule: Schedule, times: Date[], workflowId?: string): Run[] {
  if (!('cron' in schedule)) return times.map((at) => ({ at, timeZone: 'UTC', shifted: false }));
  const calendar = calendarOf(schedule.cron, workflowId);
  return times.map((at) => ({ at, timeZone: calendar.timeZone, shifted: isShifted(at, calendar) }));
}

/** The next slots of a workflow, if it goes on as it is. */
export function runsOf(workflow: WorkflowRow, row: ScheduleRow | undefined, count: number): Promise<Run[]> {
  const schedule = scheduleOf(workflow);
  return inSlices(() => toRuns(schedule, slotsOf(workflow, schedule, row, count), workflow.id));
}

/** The first of them. */
export async function nextRunOf(workflow: WorkflowRow, row: ScheduleRow | undefined): Promise<Date | null> {
  const [next = null] = await inSlices(() => slotsOf(workflow, scheduleOf(workflow), row, 1));
  return next;
}

/** For what people see, the clock of this process suffices. */
function slotsOf(workflow: WorkflowRow, schedule: Schedule, row: ScheduleRow | undefined, count: number): Date[] {
  if (workflow.terminatedAt !== null || row?.state !== 'READY' || row.nextRunAt === null) return [];
  const pausedUntil = isPaused(workflow) ? workflow.pausedUntil : row.paused ? row.pausedUntil : undefined;
  if (pausedUntil === null) return [];
  const dueUntil = new Date(Date.now() - row.delaySeconds * 1_000);
  const { lateSeconds, nextRunAt: next } = row;
  return upcomingRuns(schedule, { workflowId: workflow.id, next, pausedUntil, dueUntil, lateSeconds }, count);
}
