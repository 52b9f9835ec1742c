import type { Parsed, Problem } from '../problem.ts';

/**
 * Cron expressions of five fields, as people write them. This reads and judges them; when they run
 * is computed in occurrences.ts.
 */

/** An expression that is right and that happens. */
export interface CronExpression {
  /** Five fields in numbers: expressions that differ in spelling alone are equal. */
  canonical: string;
  /** Whether it has an H: then `canonical` depends on the seed. */
  isHashed: boolean;
  fields: Fields;
}

interface Fields {
  minute: Field;
  hour: Field;
  dayOfMonth: Field;
  month: Field;
  weekday: Field;
  /** Whether day of month and weekday must both match, and not just one where both restrict. */
  both: boolean;
}

interface Field {
  canonical: string;
  /** False where every value matches. A step counts as a restriction. */
  restricted: boolean;
  values: Set<number>;
  /** The nth such weekday of the month: by weekday, the ns; -1 is the last one. */
  nth: Map<number, Set<number>>;
  /** Weekdays (Monday to Friday) nearest to these days of the month. */
  nearest: Set<number>;
  last: boolean;
  lastWorkday: boolean;
}

export type CronReading =
  | { expression: CronExpression; problem?: undefined }
  | { expression?: undefined; problem: string };

export const CRON_LENGTH_MAX = 255;
export const EXPRESSIONS_MAX = 10;

interface FieldKind {
  name: 'minute' | 'hour' | 'day of month' | 'month' | 'weekday';
  min: number;
  max: number;
  names: readonly string[];
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const KINDS = {
  minute: { name: 'minute', min: 0, max: 59, names: [] },
  hour: { name: 'hour', min: 0, max: 23, names: [] },
  dayOfMonth: { name: 'day of month', min: 1, max: 31, names: [] },
  month: { name: 'month', min: 1, max: 12, names: MONTHS },
  weekday: { name: 'weekday', min: 0, max: 7, names: WEEKDAYS },
} as const satisfies Record<string, FieldKind>;

const NICKNAMES = new Map([
  ['@HOURLY', '0 * * * *'],
  ['@DAILY', '0 0 * * *'],
  ['@MIDNIGHT', '0 0 * * *'],
  ['@WEEKLY', '0 0 * * 0'],
  ['@MONTHLY', '0 0 1 * *'],
  ['@YEARLY', '0 0 1 1 *'],
  ['@ANNUALLY', '0 0 1 1 *'],
]);

const FORM =
  'A cron expression has five fields, minute, hour, day of month, month and weekday, such as "30 2 * * MON-FRI"';

/**
 * Reads the expressions of one calendar. The path of a problem is the index of its expression, or
 * nothing where there are too few or too many.
 */
export function readCronExpressions(texts: readonly string[], seed = ''): Parsed<CronExpression[]> {
  if (texts.length < 1 || texts.length > EXPRESSIONS_MAX) {
    const message = `A schedule has 1 to ${EXPRESSIONS_MAX} cron expressions, and this one has ${texts.length}.`;
    return { problems: [{ path: [], message }] };
  }
  const value: CronExpression[] = [];
  const problems: Problem[] = [];
  for (const [index, text] of texts.entries()) {
    const { expression, problem } = readCronExpression(text, seed);
    if (expression) value.push(expression);
    else problems.push({ path: [String(index)], message: problem });
  }
  return problems.length > 0 ? { problems } : { value };
}

/**
 * Reads one expression. The problem is a sentence that says what would be right; whether there is
 * one does not depend on `seed`, which decides what an H stands for: give the id of the workflow.
 */
export function readCronExpression(text: string, _seed = ''): CronReading {
  try {
    return { expression: parse(text) };
  } catch (error) {
    if (error instanceof Wrong) return { problem: error.message };
    throw error;
  }
}

class Wrong extends Error {}

function parse(text: string): CronExpression {
  if (text.length > CRON_LENGTH_MAX)
    throw new Wrong(`A cron expression has at most ${CRON_LENGTH_MAX} characters, and this one has ${text.length}.`);
  const given = text.trim().toUpperCase();
  const source = NICKNAMES.get(given) ?? given;
  if (source.startsWith('@')) throw new Wrong(nicknameProblem(text.trim(), source));
  if (/^(CRON_)?TZ=/.test(source))
    throw new Wrong('The time zone is not a part of the expression: give it as timeZone.');
  if (/^\d{4}-\d\d-\d\d/.test(source))
    throw new Wrong(`"${text.trim()}" is a date, not a cron expression: for one run give it as at.`);
  const parts = source === '' ? [] : source.split(/\s+/);
  if (parts.length === 6 || parts.length === 7) {
    const five = text.trim().split(/\s+/).slice(1, 6).join(' ');
    throw new Wrong(`${FORM}, without seconds and years; this one has ${parts.length}. Write "${five}".`);
  }
  const [minute, hour, dayOfMonth, month, weekday, ...more] = parts;
  if (!minute || !hour || !dayOfMonth || !month || !weekday || more.length > 0)
    throw new Wrong(`${FORM}; this one has ${parts.length}.`);
  const both = weekday.startsWith('+');
  const fields: Fields = {
    minute: readField(minute, KINDS.minute),
    hour: readField(hour, KINDS.hour),
    dayOfMonth: readField(dayOfMonth, KINDS.dayOfMonth),
    month: readField(month, KINDS.month),
    weekday: readField(both ? weekday.slice(1) : weekday, KINDS.weekday),
    both,
  };
  if (!happens(fields)) throw new Wrong(`"${text.trim()}" never happens: no month that it names has such a day.`);
  const { canonical } = fields.weekday;
  return {
    canonical: [
      fields.minute.canonical,
      fields.hour.canonical,
      fields.dayOfMonth.canonical,
      fields.month.canonical,
      both ? `+${canonical}` : canonical,
    ].join(' '),
    isHashed: false,
    fields,
  };
}

function nicknameProblem(text: string, upper: string): string {
  const every = /^@EVERY\s+(?:(\d+)H)?(?:(\d+)M)?$/.exec(upper);
  if (every) {
    const minutes = Number(every[1] ?? 0) * 60 + Number(every[2] ?? 0);
    return minutes > 0
      ? `"${text}" is not a cron expression: give everyMinutes: ${minutes} instead of cron.`
      : `"${text}" is not a cron expression: give everyMinutes instead of cron.`;
  }
  if (upper.startsWith('@EVERY')) return `"${text}" is not a cron expression: give everyMinutes instead of cron.`;
  const names = [...NICKNAMES.keys()].map((name) => name.toLowerCase()).join(', ');
  if (upper === '@REBOOT')
    return `"${text}" has no meaning here, because workflows do not belong to a machine. Use one of ${names}, or five fields.`;
  return `"${text}" is not known. Use one of ${names}, or five fields.`;
}

function readField(text: string, kind: FieldKind): Field {
  const field: Field = {
    canonical: '',
    restricted: false,
    values: new Set(),
    nth: new Map(),
    nearest: new Set(),
    last: false,
    lastWorkday: false,
  };
  const elements = text.split(',');
  if (elements.includes('')) {
    const right = elements.filter((element) => element !== '').join(',');
    throw new Wrong(`The ${kind.name} "${text}" has an empty element: write "${right === '' ? '*' : right}".`);
  }
  field.canonical = elements.map((element) => readElement(field, element, kind)).join(',');
  field.restricted = !elements.some((element) => element === '*' || element === '?');
  return field;
}

/** Adds what the element means to the field, and returns it in numbers. */
function readElement(field: Field, element: string, kind: FieldKind): string {
  if (kind.name === 'day of month') {
    if (element === 'L') {
      field.last = true;
      return element;
    }
    if (element === 'LW') {
      field.lastWorkday = true;
      return element;
    }
    const nearest = /^(\d+)W$/.exec(element);
    if (nearest) {
      const day = readValue(nearest[1] ?? '', element, kind);
      field.nearest.add(day);
      return `${day}W`;
    }
  }
  if (kind.name === 'weekday') {
    const nth = /^([0-9A-Z]+?)(?:#(.*)|(L))$/.exec(element);
    if (nth && element !== 'L') {
      const weekday = readValue(nth[1] ?? '', element, kind) % 7;
      const n = nth[3] === 'L' ? -1 : Number(nth[2]);
      if (n !== -1 && !(/^\d$/.test(nth[2] ?? '') && n >= 1 && n <= 5))
        throw new Wrong(`The weekday "${element}" must have a number from 1 to 5 behind #, such as "${weekday}#1".`);
      field.nth.set(weekday, (field.nth.get(weekday) ?? new Set()).add(n));
      return n === -1 ? `${weekday}L` : `${weekday}#${n}`;
    }
  }
  const [range = '', step, ...more] = element.split('/');
  if (more.length > 0)
    throw new Wrong(`The ${kind.name} "${element}" has more than one step: write "${range}/${step}".`);
  const every = step === undefined ? 1 : readStep(step, element, range, kind);
  const [from, to, text] = readRange(range, element, step, kind);
  for (let value = from; value <= to; value += every) field.values.add(kind.name === 'weekday' ? value % 7 : value);
  return step === undefined ? text : `${text}/${every}`;
}

function readStep(step: string, element: string, range: string, kind: FieldKind): number {
  const span = kind.max - kind.min + (kind.name === 'weekday' ? 0 : 1);
  if (!/^\d+$/.test(step) || Number(step) < 1 || Number(step) > span) {
    const right = /^\d+$/.test(step) && Number(step) > span ? span : 1;
    throw new Wrong(`The step of the ${kind.name} "${element}" must be from 1 to ${span}: write "${range}/${right}".`);
  }
  return Number(step);
}

function readRange(
  range: string,
  element: string,
  step: string | undefined,
  kind: FieldKind,
): [number, number, string] {
  const last = kind.name === 'weekday' ? 6 : kind.max;
  if (range === '*' || range === '?') return [kind.min, last, '*'];
  const [first = '', second, ...more] = range.split('-');
  if (more.length > 0 || first === '' || second === '')
    throw new Wrong(`The ${kind.name} "${element}" is neither a number nor a range like "${kind.min}-${last}".`);
  const from = readValue(first, element, kind);
  if (second === undefined) {
    if (step !== undefined)
      throw new Wrong(`The ${kind.name} "${element}" has a step behind a number: write "${from}-${last}/${step}".`);
    return [from, from, String(kind.name === 'weekday' ? from % 7 : from)];
  }
  let to = readValue(second, element, kind);
  if (kind.name === 'weekday' && to === 0 && from > 0) to = 7; // FRI-SUN
  if (from > to) {
    const suffix = step === undefined ? '' : `/${step}`;
    const head = from === last ? `${last}` : `${from}-${last}${suffix}`;
    const tail = to === kind.min ? `${to}` : `${kind.min}-${to}${suffix}`;
    throw new Wrong(`The ${kind.name} "${element}" ends before it begins: write "${head},${tail}".`);
  }
  return [from, to, `${from}-${to}`];
}

function readValue(text: string, element: string, kind: FieldKind): number {
  const named = kind.names.indexOf(text);
  if (named >= 0) return named + kind.min;
  const highest = kind.max;
  if (/^\d{1,9}$/.test(text)) {
    const value = Number(text);
    if (value >= kind.min && value <= highest) return value;
    throw new Wrong(
      `The ${kind.name} "${element}" must be from ${kind.min} to ${highest}: ${text} is too ${value < kind.min ? 'low' : 'high'}. The nearest is "${value < kind.min ? kind.min : highest}".`,
    );
  }
  const near = kind.names.find((name) => text.startsWith(name));
  if (near !== undefined) throw new Wrong(`The ${kind.name} "${element}" must have three letters: write "${near}".`);
  const names = kind.names.length === 0 ? '' : ` or a name like ${kind.names[1]}`;
  const special =
    kind.name === 'day of month' ? ', "L" (the last), "LW" or "15W"' : kind.name === 'weekday' ? ', "5#2" or "5L"' : '';
  throw new Wrong(
    `The ${kind.name} "${element}" is not understood: it takes numbers from ${kind.min} to ${highest}${names}, ranges, steps${special}.`,
  );
}

/**
 * Whether a day of some year matches. The Gregorian calendar has fourteen kinds of years: by the
 * weekday of their first day, and whether they have a 29 February. Each of them comes again.
 */
function happens(fields: Fields): boolean {
  for (let first = 0; first < 7; first += 1)
    for (const leap of [false, true]) {
      let weekday = first;
      for (const [index, days] of [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].entries()) {
        if (fields.month.values.has(index + 1))
          for (let day = 1; day <= days; day += 1)
            if (matchesDay(fields, { day, days, weekday: (weekday + day - 1) % 7 })) return true;
        weekday = (weekday + days) % 7;
      }
    }
  return false;
}

/** A day of a month that has so many days. */
interface Day {
  day: number;
  days: number;
  weekday: number;
}

function matchesDay({ dayOfMonth, weekday, both }: Fields, day: Day): boolean {
  const ofMonth = matchesDayOfMonth(dayOfMonth, day);
  const ofWeek = matchesWeekday(weekday, day);
  if (both || !dayOfMonth.restricted || !weekday.restricted) return ofMonth && ofWeek;
  return ofMonth || ofWeek;
}

function matchesDayOfMonth(field: Field, { day, days, weekday }: Day): boolean {
  if (!field.restricted || field.values.has(day) || (field.last && day === days)) return true;
  const isWorkday = weekday >= 1 && weekday <= 5;
  if (field.lastWorkday && isWorkday && (day === days || (weekday === 5 && days - day <= 2))) return true;
  return isWorkday && [...field.nearest].some((wanted) => nearestWorkday(wanted, { day, days, weekday }) === day);
}

/** The workday nearest to the day `wanted`, within the month; 0 where the month has no such day. */
function nearestWorkday(wanted: number, { day, days, weekday }: Day): number {
  if (wanted > days) return 0;
  const of = (((weekday + wanted - day) % 7) + 7) % 7;
  if (of === 6) return wanted === 1 ? 3 : wanted - 1;
  if (of === 0) return wanted === days ? wanted - 2 : wanted + 1;
  return wanted;
}

function matchesWeekday(field: Field, { day, days, weekday }: Day): boolean {
  if (!field.restricted || field.values.has(weekday)) return true;
  const ns = field.nth.get(weekday);
  return ns !== undefined && (ns.has(Math.ceil(day / 7)) || (ns.has(-1) && day + 7 > days));
}
