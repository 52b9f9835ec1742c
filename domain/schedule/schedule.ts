import { INTERVAL_MINUTES_MAX } from '../limits.ts';
import { below, type Parsed, type Problem } from '../problem.ts';
import { readCronExpressions, readStoredExpression } from './cron-expression.ts';
import { type Calendar, occurrencesAfter, occurrencesBefore } from './occurrences.ts';
import { timeZoneProblem } from './time-zone.ts';

/** When a workflow runs by itself, as its owner gave it. Times are in ISO 8601. */
export type Schedule = { everyMinutes: number } | StoredSchedule;
/** The schedules that are not an interval, as the database has them. */
export type StoredSchedule = { cron: CronSchedule } | { at: string } | { manual: true };

export interface CronSchedule {
  expressions: string[];
  timeZone: string;
  /** The first run is not before. */
  startsAt?: string;
  /** Every run is before. */
  endsAt?: string;
}

type Maybe<T> = T | null | undefined;
/** Exactly one of them is given: GraphQL's @oneOf sees to it. */
export interface ScheduleInput {
  everyMinutes?: Maybe<number>;
  cron?: Maybe<{
    expressions: string[];
    timeZone?: Maybe<string>;
    startsAt?: Maybe<Date>;
    endsAt?: Maybe<Date>;
  }>;
  at?: Maybe<Date>;
  manual?: Maybe<boolean>;
}

const DEFAULT_TIME_ZONE = 'UTC';

/**
 * The schedule, or what is wrong with it whenever it is given. The id of its workflow changes
 * neither: with it, calendarOf reads nothing again.
 */
export function parseSchedule(input: ScheduleInput, workflowId = ''): Parsed<Schedule> {
  if (input.cron) {
    const { value, problems } = parseCron(input.cron, workflowId);
    return value ? { value: { cron: value } } : { problems: below(['cron'], problems) };
  }
  if (input.at) return { value: { at: input.at.toISOString() } };
  if (input.manual === true) return { value: { manual: true } };
  if (input.manual === false)
    return wrong(['manual'], 'It must be true. A workflow that runs by itself has everyMinutes, cron or at.');
  const minutes = input.everyMinutes ?? 0;
  if (minutes >= 1 && minutes <= INTERVAL_MINUTES_MAX) return { value: { everyMinutes: minutes } };
  return wrong(['everyMinutes'], `It must be from 1 to ${INTERVAL_MINUTES_MAX} minutes, not ${minutes}.`);
}

/**
 * What is wrong with the times of a schedule that is given at `now`, the time of the database. It
 * depends on what an H stands for in this workflow.
 */
export function timeProblems(schedule: Schedule, now: Date, workflowId?: string): Problem[] {
  const isPast = `It must be later than now, ${now.toISOString()} by the clock of the database.`;
  if ('at' in schedule) return new Date(schedule.at) > now ? [] : [{ path: ['at'], message: isPast }];
  if (!('cron' in schedule)) return [];
  const { startsAt, endsAt } = schedule.cron;
  const at = (field: string, message: string) => [{ path: ['cron', field], message }];
  if (endsAt !== undefined && new Date(endsAt) <= now) return at('endsAt', isPast);
  if ((startsAt ?? endsAt) === undefined || runsAfter(schedule, now, 1, workflowId).length > 0) return [];
  return endsAt === undefined
    ? at('startsAt', 'No run comes after it: give an earlier time, or leave it out.')
    : at('endsAt', 'No run comes before it: give a later time, or leave it out.');
}

function wrong(path: string[], message: string): { problems: Problem[] } {
  return { problems: [{ path, message }] };
}

function parseCron(input: NonNullable<ScheduleInput['cron']>, workflowId: string): Parsed<CronSchedule> {
  const { expressions, startsAt, endsAt } = input;
  const timeZone = input.timeZone ?? DEFAULT_TIME_ZONE;
  const read = readCronExpressions(expressions, workflowId);
  const problems = below(['expressions'], read.problems ?? []);
  const zoneProblem = timeZoneProblem(timeZone);
  if (zoneProblem !== undefined) problems.push({ path: ['timeZone'], message: zoneProblem });
  if (endsAt && startsAt && endsAt <= startsAt)
    problems.push({ path: ['endsAt'], message: `It must be later than startsAt, ${startsAt.toISOString()}.` });
  if (!read.value || problems.length > 0) return { problems };
  const times = {
    ...(startsAt ? { startsAt: startsAt.toISOString() } : {}),
    ...(endsAt ? { endsAt: endsAt.toISOString() } : {}),
  };
  const value = { expressions, timeZone, ...times };
  calendars.set(value, { workflowId, calendar: { expressions: read.value, timeZone } });
  return { value };
}

/**
 * When cron expressions run. What an H in them stands for depends on the id of the workflow. The
 * expressions of one schedule are read once.
 */
export function calendarOf(cron: CronSchedule, workflowId = ''): Calendar {
  const known = calendars.get(cron);
  if (known?.workflowId === workflowId) return known.calendar;
  const { expressions, timeZone } = cron;
  const calendar = { expressions: expressions.map((text) => readStoredExpression(text, workflowId)), timeZone };
  calendars.set(cron, { workflowId, calendar });
  return calendar;
}

const calendars = new WeakMap<CronSchedule, { workflowId: string; calendar: Calendar }>();

/**
 * The first `count` runs after `after`, ascending; fewer if no more follow. An interval has its
 * first one at `after`, as a new workflow runs at once.
 */
export function runsAfter(schedule: Schedule, after: Date, count: number, workflowId?: string): Date[] {
  if (count <= 0 || 'manual' in schedule) return [];
  if ('everyMinutes' in schedule) return everyMinutesFrom(after, schedule.everyMinutes, count);
  if ('cron' in schedule) return cronRunsAfter(schedule.cron, after, count, workflowId);
  const at = new Date(schedule.at);
  return at > after ? [at] : [];
}

/** What decides which slots of a workflow are to come. */
export interface Upcoming {
  workflowId: string;
  /** The first slot that has made no job. It may have passed. */
  next: Date;
  /** The end of a pause: slots up to this instant do not run. */
  pausedUntil: Date | undefined;
  /**
   * The slots up to this instant are due. Of those that have passed, the last one alone runs, and
   * it does not if it is late by more than `lateSeconds`.
   */
  dueUntil: Date;
  lateSeconds: number | null;
}

/** The slots of a workflow that are to run if it goes on as it is, at most `count` of them. */
export function upcomingRuns(schedule: Schedule, upcoming: Upcoming, count: number): Date[] {
  const { workflowId, next, pausedUntil, dueUntil, lateSeconds } = upcoming;
  const after = pausedUntil && pausedUntil >= next ? pausedUntil : undefined;
  if ((after ?? next) > dueUntil) {
    if ('everyMinutes' in schedule)
      return everyMinutesFrom(after ? slotAfter(schedule, next, after) : next, schedule.everyMinutes, count);
    return after
      ? runsAfter(schedule, after, count, workflowId)
      : [next, ...runsAfter(schedule, next, count - 1, workflowId)].slice(0, count);
  }
  const last = lastSlot(schedule, upcoming);
  const isLate = lateSeconds !== null && last.getTime() < dueUntil.getTime() - lateSeconds * 1_000;
  const waiting = isLate || (after && last <= after) ? [] : [last];
  const more = count - waiting.length;
  const following =
    'everyMinutes' in schedule
      ? everyMinutesFrom(slotAfter(schedule, next, dueUntil), schedule.everyMinutes, more)
      : runsAfter(schedule, dueUntil, more, workflowId);
  return [...waiting, ...following].slice(0, count);
}

/** The last slot that is due. A slot that has passed stays, also when time-zone data changes. */
function lastSlot(schedule: Schedule, { workflowId, next, dueUntil }: Upcoming): Date {
  if ('everyMinutes' in schedule)
    return new Date(slotAfter(schedule, next, dueUntil).getTime() - schedule.everyMinutes * MINUTE_MS);
  if (!('cron' in schedule)) return next;
  const { endsAt } = schedule.cron;
  const before = Math.min(dueUntil.getTime() + 1, endsAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(endsAt));
  const [last = next] = occurrencesBefore(calendarOf(schedule.cron, workflowId), new Date(before), 1);
  return last > next ? last : next;
}

/** The first slot of an interval after an instant that is not before one of its slots. */
function slotAfter({ everyMinutes }: { everyMinutes: number }, slot: Date, after: Date): Date {
  const every = everyMinutes * MINUTE_MS;
  const passed = Math.floor((after.getTime() - slot.getTime()) / every) + 1;
  return new Date(slot.getTime() + passed * every);
}

/** `first` and the slots of the interval that follow it. */
function everyMinutesFrom(first: Date, everyMinutes: number, count: number): Date[] {
  const slots = Array.from({ length: count }, (_, n) => new Date(first.getTime() + n * everyMinutes * MINUTE_MS));
  return slots.filter((slot) => slot <= LAST_INSTANT);
}

const MINUTE_MS = 60_000;
/** RFC 3339 has four digits for the year. */
const LAST_INSTANT = new Date('9999-12-31T23:59:59.999Z');

function cronRunsAfter(cron: CronSchedule, after: Date, count: number, workflowId?: string): Date[] {
  const { startsAt, endsAt } = cron;
  const before = startsAt === undefined ? after : new Date(Math.max(after.getTime(), Date.parse(startsAt) - 1));
  const runs = occurrencesAfter(calendarOf(cron, workflowId), before, count);
  return runs.filter((run) => run <= LAST_INSTANT && (endsAt === undefined || run < new Date(endsAt)));
}
