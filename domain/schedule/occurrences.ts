import { createHash } from 'node:crypto';
import type { MonthShape } from './cron-days.ts';
import type { CronExpression } from './cron-expression.ts';
import { offsetMs } from './time-zone.ts';

/** When cron expressions occur in a time zone. An instant that several of them give counts once. */
export interface Calendar {
  expressions: readonly CronExpression[];
  timeZone: string;
}

/**
 * The first `count` instants after `after`, ascending. Fewer only where there are no more before
 * the year 10,000.
 */
export function occurrencesAfter(calendar: Calendar, after: Date, count: number): Date[] {
  const at = after.getTime();
  const found = collect(calendar, at, count, 1, (instant) => instant > at);
  return found.slice(0, count).map((instant) => new Date(instant));
}

/**
 * The last `count` instants before `before`, ascending. Fewer only where there are no more since
 * the year 100.
 */
export function occurrencesBefore(calendar: Calendar, before: Date, count: number): Date[] {
  const at = before.getTime();
  const found = collect(calendar, at, count, -1, (instant) => instant < at);
  return found.slice(Math.max(0, found.length - count)).map((instant) => new Date(instant));
}

/** An instant as the local clock shows it, with its offset: "2027-03-28T03:00:00+02:00". */
export function localTime(at: Date, timeZone: string): string {
  // ISO 8601 has no seconds there: the text stays true to the instant.
  const offset = Math.round(offsetMs(at.getTime(), timeZone) / MINUTE_MS);
  const local = new Date(at.getTime() + offset * MINUTE_MS).toISOString().slice(0, -5);
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return `${local}${offset < 0 ? '-' : '+'}${two(hours)}:${two(minutes)}`;
}

/** Whether an occurrence was moved out of a gap: no expression names the time that it has there. */
export function isShifted(at: Date, { expressions, timeZone }: Calendar): boolean {
  const offset = offsetMs(at.getTime(), timeZone);
  if (offsetMs(at.getTime() - 1, timeZone) === offset) return false; // no gap ends here
  const local = at.getTime() + offset;
  const day = Math.floor(local / DAY_MS);
  const minuteOfDay = Math.floor((local - day * DAY_MS) / MINUTE_MS);
  const month = monthOf(day);
  const dayOfMonth = day - month.firstDay + 1;
  return !expressions.some(
    (one) =>
      one.months.has(month.number) && one.daysIn(month).includes(dayOfMonth) && one.minutesOfDay.includes(minuteOfDay),
  );
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
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const YEAR_MIN = 100; // Date.UTC takes a smaller one for 19xx
const YEAR_MAX = 9999;

type Direction = 1 | -1;

/** At least `count` instants on the wanted side of `at` if there are so many, ascending. */
function collect(
  calendar: Calendar,
  at: number,
  count: number,
  direction: Direction,
  isWanted: (instant: number) => boolean,
): number[] {
  const instants = new Set<number>();
  let lastDay: number | undefined;
  for (const { day, expressions } of matchingDays(calendar, at, direction)) {
    if (lastDay !== undefined && day !== lastDay + direction) break;
    const spans = spansOf(day, calendar.timeZone);
    for (const expression of expressions)
      for (const instant of instantsOn(day, expression, spans)) if (isWanted(instant)) instants.add(instant);
    if (lastDay !== undefined) break;
    // The clocks may go back at midnight: then the next day begins before this one ends.
    if (instants.size >= count) lastDay = day;
  }
  return [...instants].sort((a, b) => a - b);
}

/** The days, counted from 1970, on which expressions occur, from the day beside that of `at` on. */
function* matchingDays({ expressions, timeZone }: Calendar, at: number, direction: Direction) {
  const [first, last] = [Date.UTC(YEAR_MIN, 0, 1) / DAY_MS, Date.UTC(YEAR_MAX, 11, 31) / DAY_MS];
  const firstDay = Math.min(Math.max(dayOf(at, timeZone) - direction, first), last);
  const named = new Set(expressions.flatMap((expression) => [...expression.months]));
  const lists = new Map<number, MatchingDay[]>(); // of up to 28 shapes of each month
  let { year, number } = monthOf(firstDay);
  while (year >= YEAR_MIN && year <= YEAR_MAX) {
    if (named.has(number)) {
      const month = monthAt(year, number);
      const key = (number * 32 + month.days) * 7 + month.firstWeekday;
      const list = lists.get(key) ?? daysOfMonth(expressions, month, direction);
      lists.set(key, list);
      for (const { dayOfMonth, expressions } of list) {
        const day = month.firstDay + dayOfMonth - 1;
        if ((day - firstDay) * direction >= 0) yield { day, expressions };
      }
    }
    number += direction;
    if (number < 1 || number > 12) {
      year += direction;
      number -= 12 * direction;
    }
  }
}

interface MatchingDay {
  dayOfMonth: number;
  expressions: CronExpression[];
}

function daysOfMonth(expressions: readonly CronExpression[], month: Month, direction: Direction): MatchingDay[] {
  const days = new Map<number, CronExpression[]>();
  for (const expression of expressions)
    if (expression.months.has(month.number))
      for (const day of expression.daysIn(month)) days.set(day, [...(days.get(day) ?? []), expression]);
  const list = [...days].map(([dayOfMonth, ofDay]) => ({ dayOfMonth, expressions: ofDay }));
  return list.sort((a, b) => (a.dayOfMonth - b.dayOfMonth) * direction);
}

/** The local day, counted from 1970. */
function dayOf(at: number, timeZone: string): number {
  return Math.floor((at + offsetMs(at, timeZone)) / DAY_MS);
}

interface Month extends MonthShape {
  year: number;
  number: number;
  /** Counted from 1970. */
  firstDay: number;
}

function monthOf(day: number): Month {
  const date = new Date(day * DAY_MS);
  return monthAt(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

function monthAt(year: number, number: number): Month {
  const firstDay = Date.UTC(year, number - 1) / DAY_MS;
  const days = Date.UTC(year, number) / DAY_MS - firstDay;
  const firstWeekday = (((firstDay + THURSDAY) % 7) + 7) % 7;
  return { year, number, days, firstDay, firstWeekday };
}

const THURSDAY = 4; // 1970-01-01

/** A time in which the offset of a zone stays the same. */
interface Span {
  from: number;
  until: number;
  offset: number;
}

/**
 * The spans, of one after another, that hold all instants of a local day, and the gaps in it. An
 * offset is less than a day, and so are most gaps; the Pacific skipped whole days.
 */
function spansOf(day: number, timeZone: string): Span[] {
  const spans: Span[] = [];
  let from = Number.NEGATIVE_INFINITY;
  let offset = offsetMs((day - 1) * DAY_MS, timeZone);
  for (let start = day - 1; start < day + 2; start += 1) {
    const next = offsetMs((start + 1) * DAY_MS, timeZone);
    if (next === offset) continue;
    const until = changeBetween(start * DAY_MS, (start + 1) * DAY_MS, timeZone, offset);
    spans.push({ from, until, offset });
    from = until;
    offset = next;
  }
  spans.push({ from, until: Number.POSITIVE_INFINITY, offset });
  return spans;
}

/** The first second between `from` and `until` at which the zone has another offset. */
function changeBetween(from: number, until: number, timeZone: string, offset: number): number {
  let [before, after] = [from / 1000, until / 1000];
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offsetMs(middle * 1000, timeZone) === offset) before = middle;
    else after = middle;
  }
  return after * 1000;
}

/**
 * The rule for daylight saving time is that of Vixie's cron. A fixed time that the clocks skip
 * occurs when they have skipped it, and one that they show twice occurs the first time. Other
 * expressions follow the clocks: their times occur never then, or twice.
 */
function instantsOn(day: number, { minutesOfDay, isFixed }: CronExpression, spans: readonly Span[]): number[] {
  const instants: number[] = [];
  for (const minute of minutesOfDay) {
    const local = day * DAY_MS + minute * MINUTE_MS;
    for (const { from, until, offset } of spans) {
      const instant = local - offset;
      if (instant >= until) continue;
      if (instant >= from) instants.push(instant);
      else if (isFixed) instants.push(from); // in the gap: no earlier span had it
      if (isFixed) break;
    }
  }
  return instants;
}
