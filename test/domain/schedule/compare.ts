import fc from 'fast-check';
import { expect } from 'vitest';
import { readCronExpression } from '../../../domain/schedule/cron-expression.ts';
import { type Calendar, occurrencesAfter, occurrencesBefore } from '../../../domain/schedule/occurrences.ts';
import { anyExpression, type Clock, changesOf, occurrencesOn, readClock, ZONES } from './oracle.ts';

const DAY_MS = 86_400_000;
/** SCHEDULE_SEED is the seed that a failed run has printed; it repeats that run. */
const { SCHEDULE_SEED } = process.env;
const SEED: { seed?: number } = SCHEDULE_SEED === undefined ? {} : { seed: Number(SCHEDULE_SEED) };

/** Some days around the last changes of the clocks in each zone, and around days that it skipped. */
export function readClocks(): Clock[] {
  const around = (timeZone: string, change: number) =>
    readClock(timeZone, change - 2 * DAY_MS - (change % DAY_MS), change + 2 * DAY_MS);
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

/** Tries random expressions on all clocks, forward and backward. */
export function compare(clocks: readonly Clock[], numRuns: number): void {
  let occurrences = 0;
  fc.assert(
    fc.property(anyExpression(), (text) => {
      const { expression } = readCronExpression(text);
      if (!expression) return; // never occurs
      for (const clock of clocks) {
        const expected = occurrencesOn(clock, text);
        occurrences += expected.length;
        const calendar = { expressions: [expression], timeZone: clock.timeZone };
        const place = `${text} in ${clock.timeZone}`;
        expectSame(forward(calendar, clock), expected, `${place}, forward`);
        expectSame(backward(calendar, clock), expected, `${place}, backward`);
      }
    }),
    { numRuns, ...SEED },
  );
  console.info(`${numRuns} expressions on ${clocks.length} clocks: ${occurrences} occurrences.`);
  expect(occurrences).toBeGreaterThan(numRuns);
}

/** Differences are shown as dates, which takes too long for each comparison. */
function expectSame(found: readonly number[], expected: readonly number[], place: string): void {
  if (found.join() !== expected.join()) expect(iso(found), place).toEqual(iso(expected));
}

const STEP = 997;

/** In steps, each of which begins somewhere else. */
function forward(calendar: Calendar, { from, until }: Clock): number[] {
  const found: number[] = [];
  for (let at = from + DAY_MS - 1; ; ) {
    const next = occurrencesAfter(calendar, new Date(at), STEP).map((date) => date.getTime());
    const inside = next.filter((one) => one < until);
    found.push(...inside);
    if (inside.length < STEP) return found;
    at = inside.at(-1) ?? until;
  }
}

function backward(calendar: Calendar, { from, until }: Clock): number[] {
  const found: number[] = [];
  for (let at = until; ; ) {
    const previous = occurrencesBefore(calendar, new Date(at), STEP).map((date) => date.getTime());
    const inside = previous.filter((one) => one >= from + DAY_MS);
    found.unshift(...inside);
    if (inside.length < STEP) return found;
    at = inside[0] ?? from;
  }
}

function iso(instants: readonly number[]): string[] {
  return instants.map((instant) => new Date(instant).toISOString());
}
