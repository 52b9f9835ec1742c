import { createHash } from 'node:crypto';
import { Cron } from 'croner';
import type { CronExpression } from './cron-expression.ts';

/** When cron expressions run in a time zone. Several that give one instant give one run. */
export interface Calendar {
  expressions: CronExpression[];
  timeZone: string;
}

/** The first `count` instants after `after`, ascending. Fewer only where there are no more. */
export function occurrencesAfter({ expressions, timeZone }: Calendar, after: Date, count: number): Date[] {
  const lists = expressions.map((one) => cronOf(one, timeZone).nextRuns(count, after));
  return merge(lists).slice(0, count);
}

/** The last `count` instants before `before`, ascending. */
export function occurrencesBefore({ expressions, timeZone }: Calendar, before: Date, count: number): Date[] {
  const lists = expressions.map((one) => cronOf(one, timeZone).previousRuns(count, before));
  return merge(lists).slice(-count);
}

/**
 * Equal for calendars that differ only in the order, repetition or spelling of expressions, or in
 * the case of the time zone. "Europe/Kyiv" and "Europe/Kiev" differ. At most 200 characters.
 */
export function calendarKey({ expressions, timeZone }: Calendar): string {
  const canonical = [...new Set(expressions.map((one) => one.canonical))].sort();
  const key = [timeZone.toLowerCase(), ...canonical].join('|');
  return key.length <= KEY_LENGTH_MAX ? key : createHash('sha256').update(key).digest('hex');
}

const KEY_LENGTH_MAX = 200;

function cronOf({ canonical }: CronExpression, timezone: string): Cron {
  return new Cron(canonical, { mode: '5-part', timezone, fixedTimeRule: 'no-wildcard', paused: true });
}

function merge(lists: Date[][]): Date[] {
  const times = new Set(lists.flat().map((time) => time.getTime()));
  return [...times].sort((a, b) => a - b).map((time) => new Date(time));
}

/** An instant as the local clock shows it, with its offset: "2027-03-28T03:00:00+02:00". */
export function localTime(at: Date, timeZone: string): string {
  const offset = offsetMinutes(at, timeZone);
  const local = new Date(at.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return `${local}${offset < 0 ? '-' : '+'}${two(hours)}:${two(minutes)}`;
}

/** Whether an occurrence was moved out of a gap: no expression names the time at which it runs. */
export function isShifted(at: Date, { expressions, timeZone }: Calendar): boolean {
  const local = new Date(at.getTime() + offsetMinutes(at, timeZone) * 60_000);
  return !expressions.some(
    ({ fields }) => fields.minute.values.has(local.getUTCMinutes()) && fields.hour.values.has(local.getUTCHours()),
  );
}

function offsetMinutes(at: Date, timeZone: string): number {
  const parts = new Map(
    formatOf(timeZone)
      .formatToParts(at)
      .map(({ type, value }) => [type, Number(value)]),
  );
  const get = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? Number.NaN;
  const local = Date.UTC(get('year'), get('month') - 1, get('day'), get('hour'), get('minute'), get('second'));
  return Math.round((local - Math.floor(at.getTime() / 1000) * 1000) / 60_000);
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  formats.set(timeZone, format); // bounded by the number of zones
  return format;
}
