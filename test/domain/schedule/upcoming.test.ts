import { expect, test } from 'vitest';
import { runsAfter, type Schedule, timeProblems, upcomingRuns } from '../../../domain/schedule/schedule.ts';

const minute = (n: number) => new Date(Date.UTC(2027, 0, 1, 0, n));
const CRON = { expressions: ['*/10 * * * *'], timeZone: 'UTC' };
const SCHEDULES: [string, Schedule][] = [
  ['an interval', { everyMinutes: 10 }],
  ['cron', { cron: CRON }],
];

/** In minutes. */
function upcoming(
  schedule: Schedule,
  { next = 60, due, pause, late }: { next?: number; due: number; pause?: number; late?: number },
  count = 3,
): number[] {
  const pausedUntil = pause === undefined ? undefined : minute(pause);
  const lateSeconds = late === undefined ? null : late * 60;
  const state = { workflowId: 'w', next: minute(next), pausedUntil, dueUntil: minute(due), lateSeconds };
  return upcomingRuns(schedule, state, count).map((at) => (at.getTime() - minute(0).getTime()) / 60_000);
}

test.each(SCHEDULES)('of %s, slots that have passed are left out but for the last one', (_, schedule) => {
  expect(upcoming(schedule, { due: 59 })).toEqual([60, 70, 80]);
  expect(upcoming(schedule, { due: 60 })).toEqual([60, 70, 80]);
  expect(upcoming(schedule, { due: 69 })).toEqual([60, 70, 80]);
  expect(upcoming(schedule, { due: 70 })).toEqual([70, 80, 90]);
  expect(upcoming(schedule, { due: 205 })).toEqual([200, 210, 220]);
  for (const count of [0, 1, 2]) expect(upcoming(schedule, { due: 205 }, count)).toEqual([200, 210].slice(0, count));
  expect(upcoming(schedule, { due: 0 }, 1)).toEqual([60]);
});

test.each(SCHEDULES)('of %s, a slot that is too late is left out', (_, schedule) => {
  expect(upcoming(schedule, { due: 205, late: 5 })).toEqual([200, 210, 220]);
  expect(upcoming(schedule, { due: 205, late: 4 })).toEqual([210, 220, 230]);
  expect(upcoming(schedule, { due: 60, late: 0 })).toEqual([60, 70, 80]);
});

test.each(SCHEDULES)('of %s, slots up to the end of a pause are left out', (_, schedule) => {
  expect(upcoming(schedule, { due: 0, pause: 30 })).toEqual([60, 70, 80]);
  expect(upcoming(schedule, { due: 0, pause: 60 })).toEqual([70, 80, 90]);
  expect(upcoming(schedule, { due: 205, pause: 300 })).toEqual([310, 320, 330]);
  expect(upcoming(schedule, { due: 205, pause: 195 })).toEqual([200, 210, 220]); // it has ended
  expect(upcoming(schedule, { due: 205, pause: 200 })).toEqual([210, 220, 230]);
});

test('a schedule that ends has no more', () => {
  const ending = { cron: { ...CRON, endsAt: minute(90).toISOString() } };
  expect(upcoming(ending, { due: 0 }, 9)).toEqual([60, 70, 80]);
  expect(upcoming(ending, { due: 500 })).toEqual([80]);
  expect(upcoming(ending, { due: 500, late: 1 })).toEqual([]);
  expect(upcoming({ at: minute(60).toISOString() }, { due: 0 })).toEqual([60]);
  expect(upcoming({ at: minute(60).toISOString() }, { due: 500 })).toEqual([60]);
  expect(upcoming({ at: minute(60).toISOString() }, { due: 500, late: 1 })).toEqual([]);
  expect(upcoming({ at: minute(60).toISOString() }, { due: 500, pause: 60 })).toEqual([]);
});

test('a slot that has passed stays, also where the expressions give another one now', () => {
  expect(upcoming({ cron: CRON }, { next: 63, due: 66 })).toEqual([63, 70, 80]);
});

test('without runs there is nothing to read or compute', () => {
  const wrong = { cron: { expressions: ['wrong'], timeZone: 'Mars/X' } };
  expect(upcoming(wrong, { due: 0 }, 1)).toEqual([60]);
  expect(runsAfter(wrong, minute(0), 0)).toEqual([]);
});

test('what an H stands for decides whether a run comes in time', () => {
  const ids = Array.from({ length: 40 }, (_, n) => `workflow-${n}`);
  const times = { startsAt: minute(0).toISOString(), endsAt: minute(30).toISOString() };
  const schedule = { cron: { expressions: ['H * * * *'], timeZone: 'UTC', ...times } };
  const refused = ids.filter((id) => timeProblems(schedule, minute(-60), id).length > 0);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(ids.length);
  for (const id of ids) expect(runsAfter(schedule, minute(-60), 1, id)).toHaveLength(refused.includes(id) ? 0 : 1);
});

test.each([
  ['0 0 29 2 *', '9996-03-01T00:00:00Z'],
  ['* * * * *', '9999-12-31T23:59:01Z'],
  ['59 23 31 12 *', '9999-12-31T23:59:01Z', 'America/New_York'],
])('of %s, no run comes after %s', (text, startsAt, timeZone = 'UTC') => {
  const problems = (at: string) =>
    timeProblems({ cron: { expressions: [text], timeZone, startsAt: at } }, minute(0), 'w');
  expect(problems(startsAt)).toEqual([{ path: ['cron', 'startsAt'], message: expect.stringContaining('No run') }]);
  expect(problems('9996-02-29T00:00:00Z')).toEqual([]);
  expect(problems('0001-01-01T00:00:00Z')).toEqual([]);
});

test('no run has a year of five digits', () => {
  const from = new Date('9999-12-31T23:58:30Z');
  for (const schedule of [
    { everyMinutes: 1 },
    { cron: { expressions: ['* * * * *'], timeZone: 'America/New_York' } },
  ]) {
    const runs = runsAfter(schedule, from, 100);
    expect(runs.length).toBeGreaterThan(0);
    for (const run of runs) expect(run.toISOString()).toMatch(/^9999-/);
  }
});
