import { createHash } from 'node:crypto';
import type { Parsed, Problem } from '../problem.ts';
import { didYouMean } from '../suggest.ts';
import { bitsOfDays, bitsOfWeekdays, combined, type DayBits, daysIn, type MonthShape } from './cron-days.ts';
import { CronProblem, type Field, type FieldKind, KINDS, quoted, readField } from './cron-field.ts';

/**
 * Cron expressions of five fields, as people write them. This reads and judges them; occurrences.ts
 * computes when they occur.
 */

/** An expression that is right and that occurs. */
export interface CronExpression {
  /** Five fields in numbers: expressions that differ in spelling alone are equal. */
  canonical: string;
  /** Whether it has an H: then everything here depends on the seed. */
  isHashed: boolean;
  /**
   * Whether minute and hour have no `*`, `?` or step. Such times occur on each day once, whatever
   * the clocks do.
   */
  isFixed: boolean;
  /** Minutes since midnight, ascending. */
  minutesOfDay: readonly number[];
  months: ReadonlySet<number>;
  /** On which days of one of these months it occurs, ascending. */
  daysIn(month: MonthShape): readonly number[];
}

export type CronReading =
  | { expression: CronExpression; problem?: undefined }
  | { expression?: undefined; problem: string };

export const CRON_LENGTH_MAX = 255;
export const EXPRESSIONS_MAX = 10;

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
export function readCronExpression(text: string, seed = ''): CronReading {
  try {
    return { expression: parse(text, seed) };
  } catch (error) {
    if (error instanceof CronProblem) return { problem: error.message };
    throw error;
  }
}

/**
 * Reads an expression that was found right before: one that a user gave and that is stored, or its
 * canonical form, which can be longer than what a user may give. Throws an Error if it is not
 * right.
 */
export function readStoredExpression(text: string, seed = ''): CronExpression {
  return expressionOf(resolve(splitFields(text.trim()), (index) => hashOf(seed, index)));
}

type FieldTexts = [minute: string, hour: string, dayOfMonth: string, month: string, weekday: string];

function parse(text: string, seed: string): CronExpression {
  const given = text.trim();
  if (given.length > CRON_LENGTH_MAX)
    throw new CronProblem(
      `A cron expression has at most ${CRON_LENGTH_MAX} characters, and this one has ${given.length}.`,
    );
  const texts = splitFields(given);
  const fields = resolve(texts, (index) => hashOf(seed, index));
  const problem = neverProblem(given, texts, fields);
  if (problem !== undefined) throw new CronProblem(problem);
  return expressionOf(fields);
}

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

function splitFields(given: string): FieldTexts {
  // The letters of ASCII alone: ſ is no S.
  const capital = given.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
  const source = NICKNAMES.get(capital) ?? capital;
  if (source.startsWith('@')) throw new CronProblem(nicknameProblem(given, source));
  if (/^(CRON_)?TZ=/.test(source))
    throw new CronProblem(`${quoted(given)} names a time zone: give it as timeZone, and the five fields alone here.`);
  if (/^\d{4}-\d\d-\d\d/.test(source))
    throw new CronProblem(`${quoted(given)} is a date, not a cron expression: for one run give it as at.`);
  if (/[\n\r]/.test(given))
    throw new CronProblem('A cron expression is one line: give each line as an expression of its own.');
  const texts = source === '' ? [] : source.split(/\s+/);
  const [minute, hour, dayOfMonth, month, weekday, ...more] = texts;
  if (minute && hour && dayOfMonth && month && weekday && more.length === 0)
    return [minute, hour, dayOfMonth, month, weekday];
  const count = texts.length === 0 ? 'is empty' : `has ${texts.length}`;
  if (texts.length !== 6 && texts.length !== 7) throw new CronProblem(`${FORM}; this one ${count}.`);
  const words = given.split(/\s+/);
  // The first is for those with seconds, the second for those with a command.
  const fives = [words.slice(1, 6).join(' '), words.slice(0, 5).join(' ')];
  const right = fives.find((five) => readCronExpression(five).expression) ?? '30 2 * * MON-FRI';
  throw new CronProblem(
    `${FORM.replace(/, such.*/, '')}, without seconds and years; this one ${count}. Write ${quoted(right)}.`,
  );
}

function nicknameProblem(given: string, capital: string): string {
  const names = [...NICKNAMES.keys()].map((name) => name.toLowerCase());
  const instead = `Use one of ${names.join(', ')}, or five fields.`;
  const every = /^@EVERY\s+(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:0S)?$/.exec(capital);
  const minutes = Number(every?.[1] ?? 0) * 60 + Number(every?.[2] ?? 0);
  if (capital.startsWith('@EVERY'))
    return `${quoted(given)} is not a cron expression: give everyMinutes${minutes > 0 ? `: ${minutes}` : ''} instead of cron.`;
  if (capital === '@REBOOT')
    return `${quoted(given)} has no meaning here, because workflows do not belong to a machine. ${instead}`;
  return `${quoted(given)} is not known.${didYouMean(given, names)} ${instead}`;
}

/** How an expression reads if `hash` decides what each H stands for. */
function resolve([minute, hour, dayOfMonth, month, weekday]: FieldTexts, hash: (index: number) => number | undefined) {
  const hasPlus = weekday.startsWith('+');
  if (weekday === '+')
    throw new CronProblem('The weekday "+" has nothing behind its +: write "+1", or "*" for each day.');
  const read = (text: string, kind: FieldKind, index: number) =>
    readField(text, kind, text.includes('H') ? (hash(index) ?? 0) : 0);
  const fields = {
    minute: read(minute, KINDS.minute, 0),
    hour: read(hour, KINDS.hour, 1),
    dayOfMonth: read(dayOfMonth, KINDS.dayOfMonth, 2),
    month: read(month, KINDS.month, 3),
    weekday: read(hasPlus ? weekday.slice(1) : weekday, KINDS.weekday, 4),
  };
  return { ...fields, isBoth: hasPlus && fields.dayOfMonth.isRestricted && fields.weekday.isRestricted };
}

type Fields = ReturnType<typeof resolve>;

function expressionOf(fields: Fields): CronExpression {
  const { minute, hour, dayOfMonth, month, weekday, isBoth } = fields;
  const parts = [minute, hour, dayOfMonth, month, weekday];
  const canonical = parts.map((field) => field.canonical);
  const shapes = new Map<number, readonly number[]>();
  return {
    canonical: `${canonical.slice(0, 4).join(' ')} ${isBoth ? '+' : ''}${weekday.canonical}`,
    isHashed: parts.some((field) => field.isHashed),
    isFixed: minute.isPlain && hour.isPlain,
    minutesOfDay: minutesOfDay(hour.values, minute.values),
    months: month.values,
    daysIn: (shape) => {
      const key = shape.days * 7 + shape.firstWeekday; // 28 shapes at most
      const days = shapes.get(key) ?? daysIn(fields, shape);
      shapes.set(key, days);
      return days;
    },
  };
}

function minutesOfDay(hours: Set<number>, minutes: Set<number>): number[] {
  const ofHour = ascending(minutes);
  const all: number[] = [];
  for (const hour of ascending(hours)) for (const minute of ofHour) all.push(hour * 60 + minute);
  return all;
}

function ascending(values: Set<number>): number[] {
  return [...values].sort((a, b) => a - b);
}

/**
 * The sentence for an expression without any day, or undefined. Whether there is a day depends on
 * what each H of day of month, month and weekday stands for: all of that is tried, so that the
 * answer is the same for all workflows.
 */
function neverProblem(given: string, texts: FieldTexts, fields: Fields): string | undefined {
  const [, , dayOfMonth, month, weekday] = texts;
  const days = dayChoicesOf(dayOfMonth, KINDS.dayOfMonth, bitsOfDays);
  const weekdays = dayChoicesOf(weekday.replace('+', ''), KINDS.weekday, bitsOfWeekdays);
  const checked = new Set<string>();
  for (const ofYear of choicesOf(month, KINDS.month)) {
    const lengths = new Set(ofYear.parts.flatMap((part) => (part ? lengthsOf(part) : [])));
    const key = ascending(lengths).join(); // months of the same lengths have the same days
    if (checked.has(key)) continue;
    checked.add(key);
    const shapes = [...SHAPES.keys()].filter((index) => lengths.has(SHAPES[index]?.days ?? 0));
    for (const day of days)
      for (const ofWeek of weekdays) {
        const occurs = shapes.some((index) => combined(fields, day.bits(index), ofWeek.bits(index)) !== 0);
        if (occurs) continue;
        if (!fields.dayOfMonth.isHashed && !fields.month.isHashed && !fields.weekday.isHashed)
          return `${quoted(given)} never happens: no month that it names has such a day.`;
        const hashes = [0, 0, day.hash, ofYear.hash, ofWeek.hash];
        const { canonical } = expressionOf(resolve(texts, (index) => hashes[index]));
        return `${quoted(given)} never happens where H stands for such days as in "${canonical}": write numbers instead of H.`;
      }
  }
  return undefined;
}

/**
 * Each month, and February of both lengths, begins with each weekday in some year. So these are all
 * the months that there are.
 */
const SHAPES: MonthShape[] = [28, 29, 30, 31].flatMap((days) =>
  [0, 1, 2, 3, 4, 5, 6].map((firstWeekday) => ({ days, firstWeekday })),
);

/** For each choice of a field, the days that it matches in the shape with an index. */
function dayChoicesOf(text: string, kind: FieldKind, bitsOf: typeof bitsOfDays) {
  const known = new Map<Field, DayBits[]>(); // few are asked for: most occur in the first shape
  const ofPart = (part: Field | undefined, index: number): DayBits => {
    const shape = SHAPES[index];
    if (!part || !shape) return 0;
    const ofField = known.get(part) ?? [];
    known.set(part, ofField);
    ofField[index] ??= bitsOf(part, shape);
    return ofField[index];
  };
  return choicesOf(text, kind).map(({ hash, parts: [part, other] }) => ({
    hash,
    bits: (index: number) => ofPart(part, index) | ofPart(other, index),
  }));
}

/** A hash that makes an H one of what it may stand for, and how the field reads then. */
interface Choice {
  hash: number;
  /** The element with the H, and the others, which stay the same: there is at least one of both. */
  parts: [Field, Field?];
}

/** All that the H in a field may stand for, each once. */
function choicesOf(text: string, kind: FieldKind): Choice[] {
  const elements = text.split(',');
  const hashed = elements.find((element) => element.startsWith('H'));
  if (hashed === undefined) return [{ hash: 0, parts: [readField(text, kind, 0)] }];
  const others = elements.filter((element) => element !== hashed).join();
  const same = others === '' ? undefined : readField(others, kind, 0);
  const choices = new Map<string, Choice>();
  for (let hash = 0; hash < kind.lastHashed - kind.min + 1; hash += 1) {
    const choice = readField(hashed, kind, hash);
    if (!choices.has(choice.canonical))
      choices.set(choice.canonical, { hash, parts: same ? [choice, same] : [choice] });
  }
  return [...choices.values()];
}

function lengthsOf(month: Field): number[] {
  return [...month.values].flatMap((number) => LENGTHS[number - 1] ?? []);
}

const LENGTHS = [[31], [28, 29], [31], [30], [31], [30], [31], [31], [30], [31], [30], [31]];

/** What H stands for must never change: it is a part of when stored workflows run. */
function hashOf(seed: string, index: number): number {
  return createHash('sha256').update(`${seed}:${index}`).digest().readUInt32BE();
}
