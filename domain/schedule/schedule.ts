import { INTERVAL_MINUTES_MAX } from '../limits.ts';
import { below, type Parsed, type Problem } from '../problem.ts';
import { readCronExpressions, readStoredExpression } from './cron-expression.ts';
import { type Calendar, occurrencesAfter } from './occurrences.ts';
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

/** The schedule, or everything that is wrong with it. `now` is the time of the database. */
export function parseSchedule(input: ScheduleInput, now: Date): Parsed<Schedule> {
  if (input.cron) {
    const { value, problems } = parseCron(input.cron, now);
    return value ? { value: { cron: value } } : { problems: below(['cron'], problems) };
  }
  if (input.at) {
    if (input.at > now) return { value: { at: input.at.toISOString() } };
    return wrong(['at'], `It must be later than now, ${now.toISOString()} by the clock of the database.`);
  }
  if (input.manual === true) return { value: { manual: true } };
  if (input.manual === false)
    return wrong(['manual'], 'It must be true. A workflow that runs by itself has everyMinutes, cron or at.');
  const minutes = input.everyMinutes ?? 0;
  if (minutes >= 1 && minutes <= INTERVAL_MINUTES_MAX) return { value: { everyMinutes: minutes } };
  return wrong(['everyMinutes'], `It must be from 1 to ${INTERVAL_MINUTES_MAX} minutes, not ${minutes}.`);
}

function wrong(path: string[], message: string): { problems: Problem[] } {
  return { problems: [{ path, message }] };
}

function parseCron(input: NonNullable<ScheduleInput['cron']>, now: Date): Parsed<CronSchedule> {
  const { expressions, startsAt, endsAt } = input;
  const timeZone = input.timeZone ?? DEFAULT_TIME_ZONE;
  const problems: Problem[] = [];
  const read = readCronExpressions(expressions);
  problems.push(...below(['expressions'], read.problems ?? []));
  const zoneProblem = timeZoneProblem(timeZone);
  if (zoneProblem !== undefined) problems.push({ path: ['timeZone'], message: zoneProblem });
  if (endsAt && startsAt && endsAt <= startsAt)
    problems.push({ path: ['endsAt'], message: `It must be later than startsAt, ${startsAt.toISOString()}.` });
  else if (endsAt && endsAt <= now) {
    const message = `It must be later than now, ${now.toISOString()} by the clock of the database.`;
    problems.push({ path: ['endsAt'], message });
  }
  if (problems.length > 0) return { problems };
  const cron = {
    expressions,
    timeZone,
    ...(startsAt ? { startsAt: startsAt.toISOString() } : {}),
    ...(endsAt ? { endsAt: endsAt.toISOString() } : {}),
  };
  if (!endsAt || runsAfter({ cron }, now, 1).length > 0) return { value: cron };
  return wrong(['endsAt'], 'No run comes before it: give a later time, or leave it out.');
}

/** When cron expressions run. What an H in them stands for depends on the id of the workflow. */
export function calendarOf({ expressions, timeZone }: CronSchedule, workflowId?: string): Calendar {
  return { expressions: expressions.map((text) => readStoredExpression(text, workflowId)), timeZone };
}

/**
 * The first `count` runs after `after`, ascending; fewer if no more follow. An interval has its
 * first one at `after`, as a new workflow runs at once.
 */
export function runsAfter(schedule: Schedule, after: Date, count: number, workflowId?: string): Date[] {
  if ('everyMinutes' in schedule) return everyMinutesFrom(after, schedule.everyMinutes, count);
  if ('cron' in schedule) return cronRunsAfter(schedule.cron, after, count, workflowId);
  if ('manual' in schedule) return [];
  const at = new Date(schedule.at);
  return at > after && count > 0 ? [at] : [];
}

/**
 * The slots of a workflow from its next one on, at most `count` of them; with `after`, the first
 * one after that instant and the following ones.
 */
export function upcomingRuns(
  schedule: Schedule,
  { next, after, count, workflowId }: { next: Date; after: Date | undefined; count: number; workflowId: string },
): Date[] {
  const from = after && after >= next ? after : undefined;
  if ('everyMinutes' in schedule) {
    const { everyMinutes } = schedule;
    const missed = from ? Math.floor((from.getTime() - next.getTime()) / (everyMinutes * 60_000)) + 1 : 0;
    return everyMinutesFrom(new Date(next.getTime() + missed * everyMinutes * 60_000), everyMinutes, count);
  }
  if (from) return runsAfter(schedule, from, count, workflowId);
  return [next, ...runsAfter(schedule, next, count - 1, workflowId)].slice(0, count);
}

/** `first` and the slots of the interval that follow it. */
export function everyMinutesFrom(first: Date, everyMinutes: number, count: number): Date[] {
  return Array.from({ length: count }, (_, n) => new Date(first.getTime() + n * everyMinutes * 60_000));
}

function cronRunsAfter(cron: CronSchedule, after: Date, count: number, workflowId?: string): Date[] {
  const { startsAt, endsAt } = cron;
  const before = startsAt === undefined ? after : new Date(Math.max(after.getTime(), Date.parse(startsAt) - 1));
  const runs = occurrencesAfter(calendarOf(cron, workflowId), before, count);
  return endsAt === undefined ? runs : runs.filter((run) => run < new Date(endsAt));
}
