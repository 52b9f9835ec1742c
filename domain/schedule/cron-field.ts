import { INTERVAL_MINUTES_MAX } from '../limits.ts';

/** One of the five fields of a cron expression. */
export interface Field {
  /** In numbers, without repetitions, in one order. */
  canonical: string;
  /** False where each value matches. A step is a restriction, other than in Debian's cron. */
  isRestricted: boolean;
  /** Whether it names its values one by one or as ranges: it has no `*`, `?` or step. */
  isPlain: boolean;
  isHashed: boolean;
  values: Set<number>;
  /** Of weekdays: which of the month they are, from 1 to 5, or the last. */
  nths: Map<number, Set<number | 'L'>>;
  /** The workdays nearest to these days of the month. */
  nearestTo: Set<number>;
  isLastDay: boolean;
  isLastWorkday: boolean;
}

export interface FieldKind {
  name: 'minute' | 'hour' | 'day of month' | 'month' | 'weekday';
  min: number;
  max: number;
  /** The greatest value that `*` stands for. */
  last: number;
  /** The greatest value that an H stands for: one that each month has. */
  lastHashed: number;
  names: readonly string[];
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

export const KINDS = {
  minute: { name: 'minute', min: 0, max: 59, last: 59, lastHashed: 59, names: [] },
  hour: { name: 'hour', min: 0, max: 23, last: 23, lastHashed: 23, names: [] },
  dayOfMonth: { name: 'day of month', min: 1, max: 31, last: 31, lastHashed: 28, names: [] },
  month: { name: 'month', min: 1, max: 12, last: 12, lastHashed: 12, names: MONTHS },
  weekday: { name: 'weekday', min: 0, max: 7, last: 6, lastHashed: 6, names: WEEKDAYS },
} as const satisfies Record<string, FieldKind>;

/** What is wrong with an expression, as a sentence for its author. */
export class CronProblem extends Error {}

/** Reads a field in capital letters. `hash` decides what an H stands for. Throws a CronProblem. */
export function readField(text: string, kind: FieldKind, hash: number): Field {
  const field: Field = {
    canonical: '',
    isRestricted: true,
    isPlain: true,
    isHashed: false,
    values: new Set(),
    nths: new Map(),
    nearestTo: new Set(),
    isLastDay: false,
    isLastWorkday: false,
  };
  const elements = text.split(',');
  if (elements.includes('')) {
    const right = elements.filter((element) => element !== '').join(',') || '*';
    throw new CronProblem(`The ${kind.name} ${quoted(text)} has an empty element: write ${quoted(right)}.`);
  }
  if (elements.filter((element) => element.startsWith('H')).length > 1)
    throw new CronProblem(
      `The ${kind.name} ${quoted(text)} has more than one H, and each would be the same: write "H", or "H/${kind.name === 'month' ? 6 : 2}" for several.`,
    );
  const canonical = new Set(elements.map((element) => readElement(field, element, kind, hash)));
  field.isPlain = ![...canonical].some((element) => /[*/]/.test(element));
  field.isRestricted = !canonical.has('*');
  field.canonical = field.isRestricted ? [...canonical].sort(byNumber).join(',') : '*';
  return field;
}

/** As it stands in a sentence: characters that nobody sees are written as code points. */
export function quoted(text: string): string {
  const visible = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  });
  return `"${visible}"`;
}

function byNumber(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1);
}

/** Adds what the element means to the field, and returns it in numbers. */
function readElement(field: Field, element: string, kind: FieldKind, hash: number): string {
  const special = kind.name === 'day of month' ? readDay(field, element, kind) : readWeekday(field, element, kind);
  if (special !== undefined) return special;
  const [range = '', step, ...more] = element.split('/');
  if (more.length > 0)
    throw new CronProblem(`The ${kind.name} ${quoted(element)} has more than one step: write "${range}/${step}".`);
  const isHashed = range.startsWith('H');
  if (isHashed) field.isHashed = true;
  const { from, to, text } = isHashed
    ? readHash(range, step, element, kind, hash)
    : readRange(range, step, element, kind);
  const every = step === undefined ? 1 : readStep(step, range, element, kind);
  for (let value = from; value <= to; value += every) field.values.add(kind.name === 'weekday' ? value % 7 : value);
  return step === undefined ? text : `${text}/${every}`;
}

function readDay(field: Field, element: string, kind: FieldKind): string | undefined {
  if (element === 'L') {
    field.isLastDay = true;
    return element;
  }
  if (element === 'LW' || element === 'WL') {
    field.isLastWorkday = true;
    return 'LW';
  }
  const nearest = /^(\d+)W$/.exec(element);
  if (nearest) {
    const day = readValue(nearest[1] ?? '', element, kind);
    field.nearestTo.add(day);
    return `${day}W`;
  }
  if (/^L-\d/.test(element))
    throw new CronProblem(
      `The day of month ${quoted(element)} does not count from the end: write "L" for the last day.`,
    );
  if (element.includes('W'))
    throw new CronProblem(
      `The day of month ${quoted(element)} must have W behind one day: write ${quoted(`${/\d+/.exec(element)?.[0] ?? 15}W`)}, or "LW" for the last workday.`,
    );
  if (element.includes('#'))
    throw new CronProblem(`The day of month ${quoted(element)} has a #, which is for weekdays: write "0 0 * * MON#1".`);
  return undefined;
}

function readWeekday(field: Field, element: string, kind: FieldKind): string | undefined {
  if (kind.name !== 'weekday') return undefined;
  if (element === 'L') throw new CronProblem('The weekday "L" does not say which day: write "5L" for the last Friday.');
  const nth = /^([^#]+)#(.*)$/.exec(element) ?? /^([^,/]+)(L)$/.exec(element);
  if (!nth) return undefined;
  const [, day = '', which = ''] = nth;
  if (day.includes('-')) {
    const { from, to } = readRange(day, undefined, day, kind);
    const each = Array.from(
      { length: to - from + 1 },
      (_, n) => `${(from + n) % 7}${which === 'L' ? '' : '#'}${which}`,
    );
    throw new CronProblem(`The weekday ${quoted(element)} must name one day: write ${quoted(each.join(','))}.`);
  }
  const weekday = readValue(day, element, kind) % 7;
  if (!/^[1-5L]$/.test(which))
    throw new CronProblem(
      `The weekday ${quoted(element)} must have a number from 1 to 5 behind #: write "${weekday}#${Number(which) > 5 ? 5 : 1}", or "${weekday}L" for the last.`,
    );
  field.nths.set(weekday, (field.nths.get(weekday) ?? new Set()).add(which === 'L' ? 'L' : Number(which)));
  return which === 'L' ? `${weekday}L` : `${weekday}#${which}`;
}

interface Range {
  from: number;
  to: number;
  text: string;
}

/** H is one value; H/15 begins at one of the first fifteen. */
function readHash(range: string, step: string | undefined, element: string, kind: FieldKind, hash: number): Range {
  const { lastHashed: last } = kind;
  const bounds = range === 'H' ? [`${kind.min}`, `${last}`] : /^H\(([^-()]+)-([^-()]+)\)$/.exec(range)?.slice(1);
  if (!bounds)
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} is not a form of H: write "H", "H/5" or "H(${kind.min}-${last})".`,
    );
  const [from, to] = [readValue(bounds[0] ?? '', element, kind), readValue(bounds[1] ?? '', element, kind)];
  if (from > to || to > last)
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} must have an ascending range from ${kind.min} to ${last}: write "H(${kind.min}-${last})".`,
    );
  const count = to - from + 1;
  if (step === undefined) {
    const value = from + (hash % count);
    return { from: value, to: value, text: `${value}` };
  }
  const start = from + (hash % Math.min(count, readStep(step, range, element, kind)));
  return { from: start, to, text: `${start}-${to}` };
}

function readStep(step: string, range: string, element: string, kind: FieldKind): number {
  const most = kind.last - kind.min + 1;
  if (/^\d+$/.test(step) && Number(step) >= 1 && Number(step) <= most) return Number(step);
  const right = Number(step) > most ? most : 1;
  const minutes = Number(step) * (kind.name === 'minute' ? 1 : 60);
  const isLong = right > 1 && range === '*' && (kind.name === 'minute' || kind.name === 'hour');
  const instead =
    isLong && minutes <= INTERVAL_MINUTES_MAX ? `, or give everyMinutes: ${minutes} in place of cron` : '';
  throw new CronProblem(
    `The step of the ${kind.name} ${quoted(element)} must be from 1 to ${most}: write ${quoted(`${range}/${right}`)}${instead}.`,
  );
}

function readRange(range: string, step: string | undefined, element: string, kind: FieldKind): Range {
  if (range === '*' || range === '?') return { from: kind.min, to: kind.last, text: '*' };
  if (range === '')
    throw new CronProblem(`The ${kind.name} ${quoted(element)} has nothing before its step: write "*/${step}".`);
  const [first = '', second, ...more] = range.split('-');
  if (more.length > 0 || first === '' || second === '')
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} is neither a number nor a range: write one such as "${kind.min}-${kind.last}".`,
    );
  let from = readValue(first, element, kind);
  if (second === undefined) {
    if (kind.name === 'weekday') from %= 7;
    if (step === undefined) return { from, to: from, text: `${from}` };
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} has a step behind a number: write ${quoted(`${from}-${kind.last}/${step}`)}.`,
    );
  }
  let to = readValue(second, element, kind);
  if (kind.name === 'weekday') {
    if (from === 7) [from, to] = [0, to % 7];
    if (to === 0 && from > 0) to = 7; // FRI-SUN
  }
  if (from > to) throw new CronProblem(wrongOrder(from, to, step, element, kind));
  return { from, to, text: step === undefined && from === to ? `${from}` : `${from}-${to}` };
}

function wrongOrder(from: number, to: number, step: string | undefined, element: string, kind: FieldKind): string {
  const part = (first: number, last: number) => (first === last ? `${first}` : `${first}-${last}`);
  let right = `${part(from, kind.last)},${part(kind.min, to)}`;
  if (step !== undefined) {
    const count = kind.last - kind.min + 1;
    const values: number[] = [];
    const every = readStep(step, `${from}-${to}`, element, kind);
    for (let value = from; value <= to + count; value += every) values.push(((value - kind.min) % count) + kind.min);
    right = values.join(',');
  }
  return `The ${kind.name} ${quoted(element)} ends before it begins: write "${right}".`;
}

function readValue(text: string, element: string, kind: FieldKind): number {
  const named = kind.names.indexOf(text);
  if (named >= 0) return named + kind.min;
  if (/^\d+$/.test(text)) {
    const value = Number(text);
    if (value >= kind.min && value <= kind.max) return value;
    // 24:00 is 0:00. Of weekdays, 7 is right.
    const isNextRound = element === text && kind.min === 0 && kind.last === kind.max && value === kind.max + 1;
    const nearest = `${value < kind.min || isNextRound ? kind.min : kind.max}`;
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} must be from ${kind.min} to ${kind.max}: write ${quoted(element.replace(text, nearest))}.`,
    );
  }
  const short = element.replaceAll(/[A-Z]{4,}/g, (word) => kind.names.find((name) => word.startsWith(name)) ?? word);
  if (short !== element)
    throw new CronProblem(
      `The ${kind.name} ${quoted(element)} must have names of three letters: write ${quoted(short)}.`,
    );
  throw new CronProblem(
    `The ${kind.name} ${quoted(element)} is not understood: write a number from ${kind.min} to ${kind.max}${formsOf(kind)}.`,
  );
}

function formsOf(kind: FieldKind): string {
  const forms = kind.names[1] === undefined ? [] : [`a name such as ${quoted(kind.names[1])}`];
  forms.push(`a range such as "${kind.min}-${kind.last}"`, 'a step such as "*/5"');
  if (kind.name === 'day of month') forms.push('"L" for the last day', '"15W" for the workday nearest to it');
  if (kind.name === 'weekday') forms.push('"5#2" for the second Friday', '"5L" for the last');
  return `, ${forms.join(', ')}`;
}
