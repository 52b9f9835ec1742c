import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  readCronExpression,
  readCronExpressions,
  readStoredExpression,
} from '../../../domain/schedule/cron-expression.ts';
import { SEED } from './compare.ts';
import { expressionOf } from './expressions.ts';
import { anyExpression } from './oracle.ts';

const canonical = (text: string, seed?: string) => expressionOf(text, seed).canonical;
const problem = (text: string) => readCronExpression(text).problem;

describe('a cron expression', () => {
  test.each([
    ['30 2 * * *', '30 2 * * *'],
    ['  30\t2  * * *  ', '30 2 * * *'],
    ['0 0 ? jan,Mar-MAY mon-FRI', '0 0 * 1,3-5 1-5'],
    ['0 0 * * 7', '0 0 * * 0'],
    ['0 0 * * FRI-SUN', '0 0 * * 5-7'],
    ['0 0 * * SUN-TUE', '0 0 * * 0-2'],
    ['0 0 * * 7-2', '0 0 * * 0-2'],
    ['0 0 * * 0-7', '0 0 * * 0-7'],
    ['0 0 * * 7-7', '0 0 * * 0'],
    ['0 0 * * 7-0', '0 0 * * 0'],
    ['0 0 * * SUN-SUN', '0 0 * * 0'],
    ['5,05,1-1,0 * * * *', '0,1,5 * * * *'],
    ['*/15 */1 * * *', '*/15 */1 * * *'],
    ['*,5 * * * *', '* * * * *'],
    ['0 0 L,15w,LW * *', '0 0 15W,L,LW * *'],
    ['0 0 * * FRIL,mon#2', '0 0 * * 1#2,5L'],
    ['0 0 13 * +5', '0 0 13 * +5'],
    ['0 0 * * +5', '0 0 * * 5'],
    ['@hourly', '0 * * * *'],
    ['@DAILY', '0 0 * * *'],
    ['@midnight', '0 0 * * *'],
    ['@weekly', '0 0 * * 0'],
    ['@monthly', '0 0 1 * *'],
    ['@yearly', '0 0 1 1 *'],
    ['@annually', '0 0 1 1 *'],
  ])('%s reads as %s', (text, expected) => {
    expect(canonical(text)).toBe(expected);
    expect(canonical(expected)).toBe(expected);
  });

  test.each([
    ['', 'five fields', 'this one is empty'],
    ['* * * *', 'five fields', 'has 4'],
    ['30 0 2 * * MON', 'without seconds', 'Write "0 2 * * MON"'],
    ['0 0 12 ? * MON-FRI 2027', 'without seconds and years', 'Write "0 12 ? * MON-FRI"'],
    ['0 0 * * * /usr/bin/backup', 'five fields', 'Write "0 0 * * *"'],
    ['0 0 * * *\n0 12 * * *', 'one line', 'an expression of its own'],
    ['@reboot', 'no meaning here', '@daily'],
    ['@every 5m', 'everyMinutes: 5 '],
    ['@every 1h30m', 'everyMinutes: 90 '],
    ['@every 10s', 'everyMinutes'],
    ['@dayly', 'Did you mean "@daily"?'],
    ['TZ=Europe/Berlin 0 0 * * *', 'timeZone'],
    ['CRON_TZ=UTC 0 0 * * *', 'timeZone'],
    ['2027-01-01T00:00:00', 'a date', 'at'],
    ['0 22-2 * * *', 'hour', 'write "22-23,0-2"'],
    ['0 22-5/4 * * *', 'hour', 'write "22,2"'],
    ['0 0 * * SAT-MON', 'weekday', 'write "6,0-1"'],
    ['*/0 * * * *', 'step of the minute', 'write "*/1"'],
    ['*/61 * * * *', 'from 1 to 60', 'write "*/60"'],
    ['*/5/5 * * * *', 'more than one step', 'write "*/5"'],
    ['5/5 * * * *', 'minute', 'write "5-59/5"'],
    ['/5 * * * *', 'minute', 'write "*/5"'],
    ['60 * * * *', 'minute', 'from 0 to 59', 'write "0"'],
    ['0-60 * * * *', 'minute', 'write "0-59"'],
    ['0 24 * * *', 'hour', 'from 0 to 23', 'write "0"'],
    ['0 0 0 * *', 'day of month', 'write "1"'],
    ['0 0 32 * *', 'day of month', 'write "31"'],
    ['0 0 * 13 *', 'month', 'write "12"'],
    ['0 0 * * 8', 'weekday', 'from 0 to 7', 'write "7"'],
    ['0 0 * * 1-8', 'weekday', 'from 0 to 7', 'write "1-7"'],
    ['0 0 * * +', 'weekday "+"', 'write "+1", or "*"'],
    ['0 0 1 * ++1', 'weekday', 'not understood'],
    ['0 0 * JANUARY *', 'month', 'write "JAN"'],
    ['0 0 * * MONDAY', 'weekday', 'write "MON"'],
    ['0 0 * * monday-friday', 'weekday', 'write "MON-FRI"'],
    ['1,,2 * * * *', 'minute', 'write "1,2"'],
    [', * * * *', 'minute', 'write "*"'],
    ['1-2-3 * * * *', 'minute', 'range'],
    ['-1 * * * *', 'minute', 'range'],
    ['1.5 * * * *', 'minute', 'not understood'],
    ['٣ * * * *', 'minute', 'not understood'],
    ['0 0 * * \0', 'weekday', '"U+0000" is not understood'],
    ['0 0 * * ſUN', 'weekday', 'not understood'],
    ['0 0 L-3 * *', 'day of month', 'write "L"'],
    ['0 0 1-5W * *', 'day of month', 'write "1W"'],
    ['0 0 W15 * *', 'day of month', 'write "15W"'],
    ['0 0 32W * *', 'day of month', 'write "31W"'],
    ['0 0 5#2 * *', 'day of month', 'for weekdays'],
    ['0 0 * * L', 'weekday', 'write "5L"'],
    ['0 0 * * 5#6', 'weekday', 'from 1 to 5', 'write "5#5"'],
    ['0 0 * * 5#0', 'weekday', 'write "5#1"'],
    ['0 0 * * MON-FRI#2', 'weekday', 'write "1#2,2#2,3#2,4#2,5#2"'],
    ['0 0 * * SAT-SUNL', 'weekday', 'write "6L,0L"'],
    ['*/90 * * * *', 'from 1 to 60', 'everyMinutes: 90'],
    ['0 */36 * * *', 'from 1 to 24', 'everyMinutes: 2160'],
    ['0 0 30 2 *', 'never happens'],
    ['0 0 31 4,6 *', 'never happens'],
    ['0 0 31W 2 *', 'never happens'],
    ['0 0 1 * +5#5', 'never happens'],
    [`${'1'.repeat(250)} * * * *`, 'at most 255 characters', 'has 258'],
  ])('%j is wrong, and a sentence says what is right', (text, ...parts) => {
    const sentence = problem(text);
    for (const part of parts) expect(sentence).toContain(part);
    expect(sentence).toMatch(/^[A-Z"].*[.]$/);
    expect(sentence?.length).toBeLessThan(700);
  });

  test('may have 255 characters', () => {
    const text = `${'0,'.repeat(123)}0 * * * *`;
    expect(text.length).toBe(255);
    expect(canonical(text)).toBe('0 * * * *');
    expect(problem(`${text} `)).toBeUndefined(); // spaces around it do not count
  });

  test('that a sentence recommends is right', () => {
    for (const text of ['22-2', '5/5', '60', '1,,2', '*/0', '/5', '0-60', '5-1/7'])
      for (const [, right] of problem(`${text} * * * *`)?.matchAll(/write "([^"]+)"/g) ?? [])
        expect(problem(`${right} * * * *`), `${text}, ${right}`).toBeUndefined();
  });

  test('counts as fixed without *, ? and steps in minute and hour', () => {
    const fixed = ['30 2 * * *', '0,30 1-5 */2 * *', 'H H * * *', 'H H(0-5) * * *'];
    const others = [
      '* 2 * * *',
      '0 * * * *',
      '? 1 * * *',
      '0 0-23/2 * * *',
      'H/15 2 * * *',
      '0 */1 * * *',
      '5 1,*/9 * * *',
    ];
    for (const text of fixed) expect(expressionOf(text).isFixed, text).toBe(true);
    for (const text of others) expect(expressionOf(text).isFixed, text).toBe(false);
  });

  test('is one of one to ten', () => {
    expect(readCronExpressions([]).problems).toEqual([{ path: [], message: expect.stringContaining('1 to 10') }]);
    expect(readCronExpressions(Array(11).fill('* * * * *')).problems?.[0]?.message).toContain('this one has 11');
    expect(readCronExpressions(Array(10).fill('* * * * *')).value).toHaveLength(10);
    expect(readCronExpressions(['* * * * *', 'x', '@daily', '60 * * * *']).problems?.map(({ path }) => path)).toEqual([
      ['1'],
      ['3'],
    ]);
  });
});

describe('a canonical expression', () => {
  /** 255 characters with an H in each field, whose canonical form is about as long. */
  function longest(minute: string): string {
    const others = ' H/12 H/14 H/6 +H/3';
    const ranges = Array.from({ length: 49 }, (_, n) => `,${n + 10}-59`).join('');
    const count = Math.floor((255 - minute.length - others.length) / 6) - 1;
    const most = `${minute}${ranges.slice(0, 6 * count)}`;
    return `${most},${'1'.padStart(254 - most.length - others.length, '0')}${others}`;
  }

  const texts = [
    ...['H', 'H/2', 'H/15', 'H/60', 'H(5-5)/3', 'H(0-29)/10', 'H(10-12)'].map(longest),
    'H/15 H/12 H/14 H/6 +H/3',
    'H H H H H',
    '*/5,H,? */7,H(1-5)/2 L,15W,LW,H,1-0031/30 JAN-DEC/11,H SUN-SUN/2,7-0,FRI-SUN,H,1#2,5L',
    '0 0 * * +H/3',
    '0 0 H * +*',
    '@hourly',
  ];
  const seeds = Array.from({ length: 40 }, (_, n) => `workflow-${n}`);

  test.each(texts)('of %s reads again as itself', (text) => {
    for (const seed of seeds) {
      const given = expressionOf(text, seed);
      const stored = readStoredExpression(given.canonical);
      expect({ ...stored, daysIn: undefined, isHashed: undefined }).toEqual({
        ...given,
        daysIn: undefined,
        isHashed: undefined,
      });
      for (let firstWeekday = 0; firstWeekday < 7; firstWeekday += 1)
        for (const days of [28, 29, 30, 31])
          expect(stored.daysIn({ days, firstWeekday })).toEqual(given.daysIn({ days, firstWeekday }));
    }
  });

  test('of any expression reads again as itself', () => {
    fc.assert(
      fc.property(anyExpression(), (text) => {
        const { expression } = readCronExpression(text);
        fc.pre(expression !== undefined);
        expect(canonical(expression.canonical)).toBe(expression.canonical);
      }),
      { numRuns: 500, ...SEED },
    );
  });

  test('may be longer than a given one', () => {
    expect(longest('H/15')).toHaveLength(255);
    const lengths = texts.flatMap((text) => seeds.map((seed) => expressionOf(text, seed).canonical.length));
    expect(Math.max(...lengths)).toBeGreaterThan(255);
    expect(() => readStoredExpression('60 * * * *')).toThrow('minute');
  });
});

describe('an H', () => {
  const SEED = '0198c0de-0000-7000-8000-000000000001';

  // These values are stored with workflows: a change of the hash moves their runs.
  test.each([
    ['H H * * *', '52 14 * * *'],
    ['H/15 * * * *', '7-59/15 * * * *'],
    ['H(0-29)/10 * * * *', '2-29/10 * * * *'],
    ['0 0 H H H', '0 0 12 3 3'],
    ['H,30 0 * * *', '30,52 0 * * *'],
  ])('%s stands for the same numbers always', (text, expected) => {
    expect(canonical(text, SEED)).toBe(expected);
    expect(expressionOf(text, SEED).isHashed).toBe(true);
    expect(expressionOf(expected).isHashed).toBe(false);
    expect(canonical(expected)).toBe(expected);
  });

  test('spreads workflows over all that it may stand for', () => {
    const valuesOf = (text: string, field: number) => {
      const ids = Array.from({ length: 600 }, (_, index) => `workflow-${index}`);
      return new Set(ids.map((id) => canonical(text, id).split(' ')[field]));
    };
    expect(valuesOf('H * * * *', 0).size).toBe(60);
    expect(valuesOf('0 H * * *', 1).size).toBe(24);
    expect([...valuesOf('0 0 H * *', 2)].map(Number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 28 }, (_, day) => day + 1),
    );
    expect(valuesOf('0 0 1 H *', 3).size).toBe(12);
    expect([...valuesOf('0 0 * * H', 4)].sort()).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    expect(valuesOf('H/15 * * * *', 0).size).toBe(15);
    expect([...valuesOf('H(10-12) * * * *', 0)].sort()).toEqual(['10', '11', '12']);
    expect([...valuesOf('0 0 * * H(MON-FRI)', 4)].sort()).toEqual(['1', '2', '3', '4', '5']);
  });

  test.each([
    ['H5 * * * *', 'minute', 'write "H", "H/5" or "H(0-59)"'],
    ['H(5) * * * *', 'minute', 'write "H", "H/5" or "H(0-59)"'],
    ['H(30-10) * * * *', 'minute', 'ascending'],
    ['H(5-70) * * * *', 'minute', 'write "H(5-59)"'],
    ['H/0 * * * *', 'step of the minute', 'write "H/1"'],
    ['H,H * * * *', 'more than one H'],
    ['0 0 H(1-31) * *', 'from 1 to 28'],
    ['0 0 31 H *', 'never happens where H', '"0 0 31 2 *"'],
    ['0 0 H * +1#1', 'never happens where H', 'numbers instead of H'],
  ])('%s is wrong for all workflows or none', (text, ...parts) => {
    for (const part of parts) expect(problem(text)).toContain(part);
    for (let id = 0; id < 50; id += 1) expect(readCronExpression(text, `${id}`).problem).toBe(problem(text));
  });
});
