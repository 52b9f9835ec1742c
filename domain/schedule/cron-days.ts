import type { Field } from './cron-field.ts';

/** What decides on which days of a month an expression occurs. */
export interface DayFields {
  dayOfMonth: Field;
  weekday: Field;
  /** Both must match. Otherwise one suffices where both are restricted. */
  isBoth: boolean;
}

/** All that the days of a month depend on: how many they are, and the weekday of the first. */
export interface MonthShape {
  days: number;
  firstWeekday: number;
}

/** Which days of the month match, ascending. */
export function daysIn(fields: DayFields, shape: MonthShape): number[] {
  const days: number[] = [];
  for (let day = 1; day <= shape.days; day += 1) if (matches(fields, day, shape)) days.push(day);
  return days;
}

export function hasDay(fields: DayFields, shape: MonthShape): boolean {
  for (let day = 1; day <= shape.days; day += 1) if (matches(fields, day, shape)) return true;
  return false;
}

function matches({ dayOfMonth, weekday, isBoth }: DayFields, day: number, shape: MonthShape): boolean {
  if (!isBoth && dayOfMonth.isRestricted && weekday.isRestricted)
    return matchesDayOfMonth(dayOfMonth, day, shape) || matchesWeekday(weekday, day, shape);
  return matchesDayOfMonth(dayOfMonth, day, shape) && matchesWeekday(weekday, day, shape);
}

function matchesDayOfMonth(field: Field, day: number, shape: MonthShape): boolean {
  if (field.values.has(day)) return true;
  if (field.isLastDay && day === shape.days) return true;
  if (field.isLastWorkday && nearestWorkday(shape.days, shape) === day) return true;
  for (const wanted of field.nearestTo) if (wanted <= shape.days && nearestWorkday(wanted, shape) === day) return true;
  return false;
}

function matchesWeekday(field: Field, day: number, shape: MonthShape): boolean {
  const weekday = weekdayOf(day, shape);
  if (field.values.has(weekday)) return true;
  const nths = field.nths.get(weekday);
  return nths !== undefined && (nths.has(Math.ceil(day / 7)) || (nths.has('L') && day + 7 > shape.days));
}

/** The day from Monday to Friday that is nearest to `day` within the month. */
function nearestWorkday(day: number, shape: MonthShape): number {
  const weekday = weekdayOf(day, shape);
  if (weekday === 6) return day === 1 ? 3 : day - 1;
  if (weekday === 0) return day === shape.days ? day - 2 : day + 1;
  return day;
}

function weekdayOf(day: number, { firstWeekday }: MonthShape): number {
  return (firstWeekday + day - 1) % 7;
}
