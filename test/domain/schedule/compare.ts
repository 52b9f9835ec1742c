import fc from 'fast-check';
import { expect } from 'vitest';
import { readCronExpression } from '../../../domain/schedule/cron-expression.ts';
import { type Calendar, occurrencesAfter, occurrencesBefore } from '../../../domain/schedule/occurrences.ts';
import { anyExpression, type Clock, changesOf, occurrencesOn, readClock, ZONES } from './oracle.ts';

const DAY_MS = 86_400_000;
/** SCHEDULE_SEED is the seed that a failed run has printed; it repeats that run. */
const { SCHEDULE_SEED } = process.env;
export const SEED: { seed?: number } = SCHEDULE_SEED === undefined ? {} : { seed: Number(SCHEDULE_SEED) };

/** Some days around the last changes of the clocks in each zone, and around days it skipped. */
export function readClocks(): Clock[] {
  const around = (timeZone: string, change: number) =>
    readClock(timeZone, change - 2 * DAY_MS - (change % DAY_MS), change + DAY_MS);
  return ZONES.flatMap((timeZone) => {
    const recent = changesOf(timeZone, 2027, 2028, 4);
    const changes = recent.length > 0 ? recent : changesOf(timeZone, 1985, 2027, 100).slice(-2);
    const skipped = { 'Pacific/Apia': Date.UTC(2011, 11, 30, 10), 'Pacific/Kiritimati': Date.UTC(1994, 11, 31, 10) }[
      timeZone
    ];
    const more = skipped === undefined ? [] : [skipped];
    return [...(changes.length > 0 ? changes : [Date.UTC(2027, 1, 28)]), ...more].map((change) =>
      around(timeZone, change),
    );
  });
}

/** Tries random expressions on the clocks, forward and backward. */
export function compare(clocks: readonly Clock[], numRuns: number): void {
  let occurrences = 0;
  let tried = 0;
  fc.assert(
    fc.property(anyExpression(), (text) => {
      const { expression } = readCronExpression(text);
      if (!expression) return; // never happens
      expect(readCronExpression(expression.canonical).expression?.canonical).toBe(expression.canonical);
      tried += 1;
      // Half of them, which is one of most zones: the whole takes a minute.
      for (const clock of clocks.filter((_, index) => (index + tried) % 2 === 0)) {
        const expected = occurrencesOn(clock, text);
        occurrences += expected.length;
        compareOn(clock, { expressions: [expression], timeZone: clock.timeZone }, expected, text);
      }
    }),
    { numRuns, ...SEED },
  );
  console.info(`${numRuns} expressions on ${clocks.length} clocks: ${occurrences} occurrences.`);
  expect(occurrences).toBeGreaterThan(numRuns);
}

function compareOn({ from, until }: Clock, calendar: Calendar, expected: readonly number[], text: string): void {
  const start = from + DAY_MS;
  const after = (at: number, count: number) => occurrencesAfter(calendar, new Date(at), count).map(Number);
  const before = (at: number, count: number) => occurrencesBefore(calendar, new Date(at), count).map(Number);
  const place = `${text} in ${calendar.timeZone}`;
  const forward = after(start - 1, expected.length + 1).filter((at) => at < until);
  expectSame(forward, expected, `${place}, forward`);
  const backward = before(until, expected.length + 1).filter((at) => at >= start);
  expectSame(backward, expected, `${place}, backward`);
  // Each can go on where another has ended.
  for (const index of [0.3, 0.5, 0.7].map((part) => Math.floor((expected.length - 1) * part))) {
    const [one, next] = [expected[index], expected[index + 1]];
    if (one === undefined || next === undefined) continue;
    expectSame(after(one, 1), [next], `${place}, after one`);
    expectSame(before(next, 1), [one], `${place}, before one`);
  }
}

/** Differences are shown as dates, which takes too long for each comparison. */
function expectSame(found: readonly number[], expected: readonly number[], place: string): void {
  if (found.join() !== expected.join()) expect(iso(found), place).toEqual(iso(expected));
}

function iso(instants: readonly number[]): string[] {
  return instants.map((instant) => new Date(instant).toISOString());
}
