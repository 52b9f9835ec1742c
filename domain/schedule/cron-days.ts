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

/** Days of a month: bit 0 is the first one. */
export type DayBits = number;

/** Which days of the month match, ascending. */
export function daysIn(fields: DayFields, shape: MonthShape): number[] {
  const bits = combined(fields, bitsOfDays(fields.dayOfMonth, shape), bitsOfWeekdays(fields.weekday, shape));
  const days: number[] = [];
  for (let day = 1; day <= shape.days; day += 1) if ((bits & bitOf(day)) !== 0) days.push(day);
  return days;
}

/** The days that match, where these match the day of month and those the weekday. */
export function combined({ dayOfMonth, weekday, isBoth }: DayFields, days: DayBits, weekdays: DayBits): DayBits {
  return !isBoth && dayOfMonth.isRestricted && weekday.isRestricted ? days | weekdays : days & weekdays;
}

export function bitsOfDays(field: Field, shape: MonthShape): DayBits {
  let bits = 0;
  for (const day of field.values) if (day <= shape.days) bits |= bitOf(day);
  if (field.isLastDay) bits |= bitOf(shape.days);
  if (field.isLastWorkday) bits |= bitOf(nearestWorkday(shape.days, shape));
  for (const day of field.nearestTo) if (day <= shape.days) bits |= bitOf(nearestWorkday(day, shape));
  return bits;
}

export function bitsOfWeekdays(field: Field, shape: MonthShape): DayBits {
  let bits = 0;
  for (const weekday of field.values)
    for (let day = firstOf(weekday, shape); day <= shape.days; day += 7) bits |= bitOf(day);
  for (const [weekday, nths] of field.nths) {
    const first = firstOf(weekday, shape);
    for (const nth of nths) {
      const day = first + 7 * (nth === 'L' ? Math.floor((shape.days - first) / 7) : nth - 1);
      if (day <= shape.days) bits |= bitOf(day);
    }
  }
  return bits;
}

function bitOf(day: number): DayBits {
  return 1 << (day - 1);
}

function firstOf(weekday: number, { firstWeekday }: MonthShape): number {
  return 1 + ((weekday - firstWeekday + 7) % 7);
}

/** The day from Monday to Friday that is nearest to `day` within the month. */
function nearestWorkday(day: number, shape: MonthShape): number {
  const weekday = (shape.firstWeekday + day - 1) % 7;
  if (weekday === 6) return day === 1 ? 3 : day - 1;
  if (weekday === 0) return day === shape.days ? day - 2 : day + 1;
  return day;
}
