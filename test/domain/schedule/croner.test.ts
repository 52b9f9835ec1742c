import { Cron } from 'croner';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { occurrencesAfter } from '../../../domain/schedule/occurrences.ts';
import { SEED } from './compare.ts';
import { calendarOf } from './expressions.ts';
import { anyExpression } from './oracle.ts';

/** Shortly before the clocks change. No gap there ends at midnight. */
const PLACES = [
  ['Europe/Berlin', '2027-03-27T12:00Z'],
  ['Europe/Berlin', '2027-10-30T12:00Z'],
  ['America/New_York', '2027-03-13T12:00Z'],
  ['Australia/Lord_Howe', '2027-04-03T06:00Z'],
  ['Australia/Lord_Howe', '2027-10-02T06:00Z'],
  ['Antarctica/Troll', '2027-03-27T12:00Z'],
] as const;

function byCroner(timezone: string, text: string): Cron {
  return new Cron(text, { mode: '5-part', timezone, fixedTimeRule: 'no-wildcard', paused: true });
}

test('croner comes to the same occurrences', () => {
  fc.assert(
    fc.property(anyExpression(), fc.constantFrom(...PLACES), (text, [timeZone, after]) => {
      fc.pre(!/LW|\+/.test(text)); // It has no LW in lists, and searches for + until the year 3000.
      const expected = byCroner(timeZone, text).nextRuns(20, new Date(after));
      fc.pre(expected.length > 0);
      const found = occurrencesAfter(calendarOf(timeZone, text), new Date(after), 20);
      expect(found, `${text} in ${timeZone}`).toEqual(expected);
    }),
    { numRuns: 150, ...SEED },
  );
});

test('croner loses a run in a gap that ends at midnight', () => {
  const [text, timeZone, after] = ['29 23 * * *', 'America/Nuuk', new Date('2027-03-27T12:00Z')] as const;
  const iso = (dates: Date[]) => dates.map((date) => date.toISOString().slice(0, 16));
  expect(iso(byCroner(timeZone, text).nextRuns(1, after))).toEqual(['2027-03-29T00:29']);
  expect(iso(occurrencesAfter(calendarOf(timeZone, text), after, 2))).toEqual(['2027-03-28T01:00', '2027-03-29T00:29']);
});
