import { describe, expect, test } from 'vitest';
import {
  readCronExpression,
  readCronExpressions,
  readStoredExpression,
} from '../../../domain/schedule/cron-expression.ts';
import {
  calendarKey,
  isShifted,
  localTime,
  occurrencesAfter,
  occurrencesBefore,
} from '../../../domain/schedule/occurrences.ts';
import { cpuMs } from '../../support/cpu-time.ts';
import { calendarOf } from './expressions.ts';

/** Minutes of UTC in 2027, such as "03-28 01:00", within a time. */
function runs(timeZone: string, text: string, from: string, until: string): string[] {
  const calendar = calendarOf(timeZone, text);
  const [after, before] = [new Date(Date.parse(`2027-${from}Z`) - 1), new Date(`2027-${until}Z`)];
  const found = occurrencesAfter(calendar, after, 200).filter((at) => at < before);
  const backward = occurrencesBefore(calendar, before, 200).filter((at) => at > after);
  expect(backward).toEqual(found);
  return found.map((at) => at.toISOString().slice(5, 16).replace('T', ' '));
}

describe('daylight saving time', () => {
  test.each([
    ['Europe/Berlin', '30 2 * * *', '03-28 00:00', '03-30 00:00', ['03-28 01:00', '03-29 00:30']],
    ['Europe/Berlin', '30 2 * * *', '10-31 00:00', '11-02 00:00', ['10-31 00:30', '11-01 01:30']],
    ['Europe/Berlin', '30 2,14 * * *', '03-28 00:00', '03-29 00:00', ['03-28 01:00', '03-28 12:30']],
    ['Europe/Berlin', '30 2,14 * * *', '10-31 00:00', '11-01 00:00', ['10-31 00:30', '10-31 13:30']],
    ['Europe/Berlin', '0 0-23/2 * * *', '03-27 22:30', '03-28 03:00', ['03-27 23:00', '03-28 02:00']],
    ['America/New_York', '30 2 * * *', '03-14 00:00', '03-15 00:00', ['03-14 07:00']],
    ['America/New_York', '30 1 * * *', '11-07 00:00', '11-08 00:00', ['11-07 05:30']],
    [
      'America/New_York',
      '*/15 1 * * *',
      '11-07 00:00',
      '11-08 00:00',
      ['05:00', '05:15', '05:30', '05:45', '06:00', '06:15', '06:30', '06:45'].map((time) => `11-07 ${time}`),
    ],
    ['Australia/Lord_Howe', '15 2 * * *', '10-02 12:00', '10-03 12:00', ['10-02 15:30']],
    ['Australia/Lord_Howe', '45 1 * * *', '04-03 12:00', '04-04 12:00', ['04-03 14:45']],
    ['Australia/Lord_Howe', '0 * * * *', '04-03 13:30', '04-03 16:00', ['04-03 14:00', '04-03 15:30']],
    ['Asia/Kathmandu', '0 9 * * *', '01-01 00:00', '01-03 00:00', ['01-01 03:15', '01-02 03:15']],
    ['Africa/Cairo', '0 0 * * *', '04-29 12:00', '04-30 12:00', ['04-29 22:00']],
    ['Antarctica/Troll', '30 1 * * *', '03-28 00:00', '03-28 12:00', ['03-28 01:00']],
    ['Europe/Berlin', '0,30 2,3 * * *', '03-28 00:00', '03-28 12:00', ['03-28 01:00', '03-28 01:30']],
  ])('in %s, %s from %s to %s', (timeZone, text, from, until, expected) => {
    expect(runs(timeZone, text, from, until)).toEqual(expected);
  });

  test.each(['03-27 12:00', '10-30 12:00'])('an hourly expression runs each hour from %s on', (from) => {
    const start = new Date(`2027-${from}Z`);
    const hours = occurrencesAfter(calendarOf('Europe/Berlin', '0 * * * *'), start, 48);
    expect(hours.map((at) => (at.getTime() - start.getTime()) / 3_600_000)).toEqual(
      Array.from({ length: 48 }, (_, i) => i + 1),
    );
  });

  test('a time in a day that a zone skips runs at the end of that day', () => {
    const [skipped] = occurrencesAfter(calendarOf('Pacific/Apia', '0 12 30 12 *'), new Date('2011-12-29T00:00Z'), 1);
    expect(skipped && localTime(skipped, 'Pacific/Apia')).toBe('2011-12-31T00:00:00+14:00');
  });

  test('an occurrence tells its local time, and whether it was moved', () => {
    const calendar = calendarOf('Europe/Berlin', '30 2 * * *');
    const found = occurrencesAfter(calendar, new Date('2027-03-27T00:00Z'), 3);
    expect(found.map((at) => [localTime(at, 'Europe/Berlin'), isShifted(at, calendar)])).toEqual([
      ['2027-03-27T02:30:00+01:00', false],
      ['2027-03-28T03:00:00+02:00', true],
      ['2027-03-29T02:30:00+02:00', false],
    ]);
    const named = calendarOf('Europe/Berlin', '30 2 * * *', '0 3 * * *');
    expect(isShifted(new Date('2027-03-28T01:00Z'), named)).toBe(false);
    expect(isShifted(new Date('2027-03-28T01:00Z'), calendarOf('Europe/Berlin', '30 2 * * *', '0 3 29 * *'))).toBe(
      true,
    );
  });

  test('local time keeps the instant where the offset had seconds', () => {
    const at = new Date('1971-01-01T12:00:00Z');
    expect(localTime(at, 'Africa/Monrovia')).toBe('1971-01-01T11:16:00-00:44');
    expect(localTime(new Date('9999-12-31T20:00Z'), 'Asia/Tokyo')).toBe('+010000-01-01T05:00:00+09:00');
    expect(localTime(new Date('2027-01-01T00:00Z'), 'America/St_Johns')).toBe('2026-12-31T20:30:00-03:30');
  });
});

describe('days', () => {
  const days = (text: string, after: string, count: number) =>
    occurrencesAfter(calendarOf('Europe/Berlin', text), new Date(after), count).map((at) =>
      localTime(at, 'Europe/Berlin').slice(0, 10),
    );

  test.each([
    ['0 0 31 * *', '2027-03-01', ['2027-03-31', '2027-05-31', '2027-07-31', '2027-08-31']],
    ['0 0 29 2 *', '2027-03-01', ['2028-02-29', '2032-02-29']],
    ['0 0 29 2 *', '2096-03-01', ['2104-02-29']],
    ['0 0 13 * +5', '2027-03-01', ['2027-08-13', '2028-10-13']],
    ['0 0 13 8 5', '2027-08-07', ['2027-08-13', '2027-08-20', '2027-08-27']],
    ['0 0 1 2 5', '2027-01-31', ['2027-02-01', '2027-02-05', '2027-02-12']],
    ['0 0 L 2 *', '2027-01-01', ['2027-02-28', '2028-02-29']],
    ['0 0 LW * *', '2027-01-01', ['2027-01-29', '2027-02-26', '2027-03-31']],
    ['0 0 1W,15W 5,8 *', '2027-01-01', ['2027-05-03', '2027-05-14', '2027-08-02', '2027-08-16']],
    ['0 0 * * 5L', '2027-01-01', ['2027-01-29', '2027-02-26']],
    ['0 0 * * 1#5', '2027-01-01', ['2027-03-29', '2027-05-31']],
  ])('%s after %s', (text, after, expected) => {
    expect(days(text, after, expected.length)).toEqual(expected);
  });

  test('a step of days is a restriction: either it or the weekday matches', () => {
    expect(days('0 0 */10 3 1', '2027-03-01T12:00Z', 7)).toEqual(
      ['08', '11', '15', '21', '22', '29', '31'].map((day) => `2027-03-${day}`),
    );
    expect(days('0 0 1 3 */3', '2027-02-28T12:00Z', 4)).toEqual(
      ['01', '03', '06', '07'].map((day) => `2027-03-${day}`),
    );
    expect(days('0 0 */10 3 +1', '2027-02-01', 3)).toEqual(['2027-03-01', '2030-03-11', '2031-03-31']);
  });
});

describe('several expressions', () => {
  test('give each instant once, in order', () => {
    const calendar = calendarOf('UTC', '*/20 * * * *', '0,30 * * * *', '0 0-23 * * *', '0 0 29 2 *');
    const found = occurrencesAfter(calendar, new Date('2027-01-01T00:00Z'), 5);
    expect(found.map((at) => at.toISOString().slice(11, 16))).toEqual(['00:20', '00:30', '00:40', '01:00', '01:20']);
    const before = occurrencesBefore(calendar, new Date('2027-01-01T00:00Z'), 3);
    expect(before.map((at) => at.toISOString().slice(11, 16))).toEqual(['23:20', '23:30', '23:40']);
  });

  test('have the key of those that mean the same', () => {
    const key = calendarKey(calendarOf('Europe/Berlin', '0 0 * * SUN', '30 2 * * *'));
    expect(key).toBe('europe/berlin|0 0 * * 0|30 2 * * *');
    expect(calendarKey(calendarOf('EUROPE/berlin', '30 2 * * *', '@weekly', '0 0 ? * 7', '30 02 * * *'))).toBe(key);
    expect(calendarKey(calendarOf('Europe/Vienna', '0 0 * * SUN', '30 2 * * *'))).not.toBe(key);
    const long = `1-20,30-40,${Array.from({ length: 60 }, (_, minute) => minute).join()} * * * *`;
    expect(calendarKey(calendarOf('UTC', long, '0 0 1 * *'))).toMatch(/^[0-9a-f]{64}$/);
    expect(calendarKey(calendarOf('UTC', long, '0 0 1 * *'))).not.toBe(
      calendarKey(calendarOf('UTC', long, '0 0 2 * *')),
    );
  });
});

describe('bounds', () => {
  const daily = calendarOf('Europe/Berlin', '0 0 * * *');

  test('there is nothing after the year 9999 and before the year 100, however far one asks', () => {
    for (const year of [8.64e15, Date.UTC(10_000, 1)]) {
      expect(occurrencesAfter(daily, new Date(year), 5)).toEqual([]);
      expect(occurrencesBefore(daily, new Date(year), 1)[0]?.toISOString()).toBe('9999-12-30T23:00:00.000Z');
    }
    expect(occurrencesBefore(daily, new Date(-8.64e15), 5)).toEqual([]);
    expect(occurrencesAfter(daily, new Date(-8.64e15), 1)[0]?.getUTCFullYear()).toBeLessThan(101);
    expect(occurrencesAfter(daily, new Date('9999-12-29T12:00Z'), 5)).toHaveLength(2);
    expect(occurrencesAfter(daily, new Date(), 0)).toEqual([]);
    expect(occurrencesBefore(daily, new Date(), 0)).toEqual([]);
  });

  const rare = ['29', '29,30', '29-30', '29,31', '29-31', '29,30,31'];
  test.each([
    ['each minute, ten times', Array.from({ length: 10 }, (_, index) => `0-58,59 0-${index + 13},23 * * *`), 10, 50],
    ['once in 28 years', ['0 0 29 2 +1'], 10, 50],
    [
      'once in 28 years, in ten ways',
      [...rare.map((day) => `0 0 ${day} 2 +1`), ...rare.slice(2).map((day) => `0 0 ${day} 2 +1L`)],
      10,
      50,
    ],
    [
      'a nearest workday',
      [`0 0 ${Array.from({ length: 31 }, (_, day) => `${day + 1}W`).join()} * +MON#1,FRIL`],
      10,
      50,
    ],
  ])('%s: quick enough', (_, texts, tenMs, manyMs) => {
    const calendar = calendarOf('America/New_York', ...texts);
    const now = new Date('2027-03-01T00:00Z');
    expect(cpuMs(() => occurrencesAfter(calendar, now, 10))).toBeLessThan(tenMs);
    expect(cpuMs(() => occurrencesAfter(calendar, now, 128))).toBeLessThan(manyMs);
    expect(cpuMs(() => occurrencesBefore(calendar, now, 128))).toBeLessThan(manyMs);
  });

  const times = (count: number, element: string) => Array.from({ length: count }, () => element).join();
  const workdays = Array.from({ length: 31 }, (_, day) => `${day + 1}W`).join();
  const worst: [string, string][] = [
    ['H everywhere', 'H H H H +H'],
    ['H with steps', `H/15,${times(36, '10-59')} H/12 H/14 H/6 +H/3`],
    ['days beside an H', `0-58,59 * H,${times(75, '01')} H +H`],
    ['workdays beside an H', `* * H,${workdays},${times(43, '1W')} H +H`],
    ['weekdays beside an H', `* * H H +H,${times(58, '1#1')},5L`],
    ['each nth weekday', '* * H H +0#5,1L,2#1,3#2,4#4,6#3'],
    ['a nearest workday on a certain weekday', '* * 31W,LW,1W 2,12 +5#5,5L,1#1'],
    ['29 February on a weekday', '0-59 0-23 29 2 +1#5'],
    ['29 February on a weekday, each minute', '* * 29 2 +1L'],
  ];
  test.each(worst)('ten expressions with %s are judged, read and computed 100 times in 50 ms each', (_, text) => {
    expect(text.length).toBeLessThanOrEqual(255);
    const texts = Array.from({ length: 10 }, () => text);
    expect(cpuMs(() => readCronExpressions(texts, 'a').value ?? readCronExpression(text).problem)).toBeLessThan(50);
    const now = new Date('2027-03-01T00:00Z');
    expect(
      cpuMs(() => {
        const expressions = texts.map((one, n) => readStoredExpression(one, `${n}`));
        const calendar = { expressions, timeZone: 'America/New_York' };
        return occurrencesAfter(calendar, now, 100).map((at) => isShifted(at, calendar));
      }),
    ).toBeLessThan(50);
  });

  test.each([
    '0 0 H H +H',
    '0 0 H,29 H/5 +1#1',
    `0 0 ${Array.from({ length: 31 }, (_, day) => `${day + 1}W`).join()} H +H`,
    '* * * * *',
  ])('%s is judged in 50 ms', (text) => {
    expect(cpuMs(() => readCronExpression(text))).toBeLessThan(50);
  });
});
