import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { recomputeCalendars, refillCalendars, removeUnusedCalendars } from '../../db/calendars.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { replanSlots } from '../../db/jobs/replan.ts';
import { calendars, schedules } from '../../db/schema.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID } from '../../domain/ids.ts';
import { TIME_ZONE_DATA } from '../../domain/schedule/time-zone.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { renewSlots } from '../../workers/scheduling/calendars.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass, until } from '../support/time.ts';
import { memoryParts } from '../support/workers.ts';
import { align, claim, EVERY_MINUTE, end, heartbeat, run, schedule, scheduled, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, calendars CASCADE`));
afterAll(() => database.close());

const calendarRows = () => database.db.select().from(calendars).orderBy(calendars.key);
const nextOf = async (id: string) => (await scheduleOf(database.db, id))?.nextRunAt?.getTime();
const slotsOf = async (id: string) => (await jobsOf(database.db, id)).map((job) => job.scheduledAt.getTime());
const HOUR_SECONDS = 3_600;

test('a cron workflow does not run at its creation, and then once at each slot', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  expect(await schedule(db)).toEqual([]);
  expect(((await nextOf(id)) ?? 1) % 60_000).toBe(0);
  await align(db, id);
  for (let n = 0; n < 3; n++) {
    const next = (await nextOf(id)) ?? 0;
    await letPass(db, id, 60);
    expect(await schedule(db)).toHaveLength(1);
    expect(await schedule(db)).toEqual([]);
    const [job] = (await jobsOf(db, id)).filter(({ status }) => status === 'QUEUED');
    expect(job?.scheduledAt.getTime()).toBe(next - 60_000);
    expect(await nextOf(id)).toBe(next);
    await end(db, (await claim(db, [job?.id ?? '']))[0] ?? fail(), { status: 'COMPLETED' });
  }
  expect((await scheduleOf(db, id))?.skippedRunCount).toBe(0);
});

test('of the slots missed while everything was down, the last one runs, and the others are counted', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await align(db, id);
  const next = (await nextOf(id)) ?? 0;
  await letPass(db, id, 10 * 60);
  expect(await schedule(db)).toHaveLength(1);
  expect(await slotsOf(id)).toEqual([next - 60_000]);
  expect(await nextOf(id)).toBe(next);
  expect((await scheduleOf(db, id))?.skippedRunCount).toBe(9);
});

test('a calendar that was used up in an outage is extended, and the last slot that has passed runs', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await letPass(db, id, 40 * HOUR_SECONDS);
  expect(await schedule(db)).toHaveLength(1);
  const [slot = 0] = await slotsOf(id);
  const now = Date.now();
  expect(slot).toBeGreaterThan(now - 60_000 - 5_000);
  expect(await nextOf(id)).toBe(slot + 60_000);
});

test('a calendar that ends between the look at a slot and its drop is extended, and the schedule goes on', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE, { runPolicy: { startWithinSeconds: 1 } });
  const lastMs = Date.now() + 400;
  await db.update(calendars).set({ occurrences: [new Date(lastMs - 60_000), new Date(lastMs)], isLast: false });
  await db
    .update(schedules)
    .set({ nextRunAt: new Date(lastMs - 60_000), wakeAt: sql`now()` })
    .where(eq(schedules.workflowId, id));
  const watchedSeconds = () => {
    while (Date.now() <= lastMs + 20); // the last occurrence passes while the decision is made
    return 0;
  };
  expect((await reconcileSchedules(db, [id], { watchedSeconds })).again).toBe(true);
  await schedule(db);
  expect(await nextOf(id)).toBeGreaterThan(lastMs);
});

test('workflows with the same expressions and zone share a calendar, however they are spelled', async () => {
  const { db } = database;
  const spellings = [
    ['0 2 * * MON-FRI', '30 4 1 jan *', 'Europe/Berlin'],
    ['30 4 1 1 *', '0 2 * * 1-5', 'europe/berlin'],
  ];
  const ids: string[] = [];
  for (const [first = '', second = '', timeZone = ''] of spellings)
    ids.push((await scheduled(db, ann, { cron: { expressions: [first, second], timeZone } })).id);
  await scheduled(db, ann, { cron: { expressions: ['0 2 * * MON-FRI'], timeZone: 'Europe/Berlin' } });
  expect(await calendarRows()).toHaveLength(2);
  const rows = await Promise.all(ids.map((id) => scheduleOf(db, id)));
  expect(rows[0]?.calendarId).toBe(rows[1]?.calendarId);
  expect(rows[0]?.nextRunAt).toEqual(rows[1]?.nextRunAt);
});

test('any number of users of a new calendar at once make one row', async () => {
  const { db } = database;
  await Promise.all(Array.from({ length: 12 }, () => scheduled(db, ann, EVERY_MINUTE)));
  expect(await calendarRows()).toHaveLength(1);
});

test('refilling keeps the last time that has passed and those that follow, and adds the next ones', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  expect(await refillCalendars(db, { limit: 10 })).toEqual({ count: 1, failed: [] });
  const [full] = await calendarRows();
  expect(full?.occurrences).toHaveLength(128);
  expect(full?.occurrences[0]?.getTime()).toBeLessThanOrEqual(Date.now());
  expect(full?.occurrences[1]?.getTime()).toBeGreaterThan(Date.now() - 60_000);
  expect(await refillCalendars(db, { limit: 10 })).toEqual({ count: 0, failed: [] });
  await letPass(db, id, 61 * 60);
  expect((await refillCalendars(db, { limit: 10 })).count).toBe(0); // more than 64 are left
  await letPass(db, id, 120);
  expect(await refillCalendars(db, { limit: 10 })).toEqual({ count: 1, failed: [] });
  const [refilled] = await calendarRows();
  const times = refilled?.occurrences.map((at) => at.getTime()) ?? [];
  expect(times).toHaveLength(128);
  expect(times).toEqual(times.map((_, n) => (times[0] ?? 0) + n * 60_000));
  expect(times[0]).toBeGreaterThan(Date.now() - 65_000);
});

test('a calendar is refilled whose expressions are longer in numbers than as they were given', async () => {
  const { db } = database;
  const others = Array.from({ length: 37 }, (_, n) => `,${n + 10}-59`).join('');
  const expressions = [`H/15${others} H/12 H/14 H/6 +H/3`];
  for (let n = 0; n < 4; n += 1) await scheduled(db, ann, { cron: { expressions, timeZone: 'UTC' } });
  const rows = await calendarRows();
  expect(rows.some((row) => (row.expressions[0]?.length ?? 0) > 255)).toBe(true);
  expect((await refillCalendars(db, { limit: 10 })).count).toBe(rows.length);
  for (const { occurrences } of await calendarRows()) expect(occurrences).toHaveLength(128);
});

test('startsAt is included and endsAt is not: the last slot ends the schedule, and the workflow stays', async () => {
  const { db } = database;
  const minute = Math.ceil(Date.now() / 60_000) * 60_000;
  const times = {
    startsAt: new Date(minute + 120_000).toISOString(),
    endsAt: new Date(minute + 240_000).toISOString(),
  };
  const { id } = await scheduled(db, ann, { cron: { expressions: ['* * * * *'], timeZone: 'UTC', ...times } });
  expect(await nextOf(id)).toBe(minute + 120_000);
  await align(db, id);
  await letPass(db, id, 60);
  await run(db, { status: 'COMPLETED' });
  await letPass(db, id, 60);
  await run(db, { status: 'COMPLETED' });
  expect(await nextOf(id)).toBeUndefined();
  await letPass(db, id, 600);
  expect(await schedule(db)).toEqual([]);
  expect(await slotsOf(id)).toHaveLength(2);
  expect((await scheduleOf(db, id))?.wakeAt).toBeNull();
});

test('after an outage, a slot before endsAt runs although endsAt has passed', async () => {
  const { db } = database;
  const minute = Math.ceil(Date.now() / 60_000) * 60_000;
  const endsAt = new Date(minute + 150_000).toISOString();
  const { id } = await scheduled(db, ann, { cron: { expressions: ['* * * * *'], timeZone: 'UTC', endsAt } });
  await refillCalendars(db, { limit: 1 });
  await letPass(db, id, 3_600);
  expect(await schedule(db)).toHaveLength(1);
  const [slot = 0] = await slotsOf(id);
  expect(slot + 3_600_000).toBe(minute + 120_000);
  expect(await nextOf(id)).toBeUndefined();
});

test('a time runs once, and the workflow stays; a manual one never runs by itself', async () => {
  const { db } = database;
  const at = new Date(Date.now() + 600_000).toISOString();
  const { id } = await scheduled(db, ann, { at });
  const manual = await scheduled(db, ann, { manual: true });
  expect(await schedule(db)).toEqual([]);
  await letPass(db, id, 3_600);
  expect(await schedule(db)).toHaveLength(1);
  await end(
    db,
    (
      await claim(
        db,
        (await jobsOf(db, id)).map((job) => job.id),
      )
    )[0] ?? fail(),
    { status: 'COMPLETED' },
  );
  expect(await schedule(db)).toEqual([]);
  expect(await nextOf(id)).toBeUndefined();
  await letPass(db, id, 60);
  expect(await schedule(db)).toEqual([]);
  expect((await scheduleOf(db, id))?.wakeAt).toBeNull();
  expect((await scheduleOf(db, manual.id))?.wakeAt).toBeNull();
  expect(await jobsOf(db, manual.id)).toEqual([]);
});

test('newer time-zone data moves the slots to come and no past one; older data never writes over newer data', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { cron: { expressions: ['30 2 * * *'], timeZone: 'Europe/Berlin' } });
  const past = await scheduled(db, ann, EVERY_MINUTE);
  const next = await nextOf(id);
  const shifted = sql`ARRAY(SELECT at + interval '1 hour' FROM unnest(occurrences) AS o (at) ORDER BY at)`;
  await db.update(calendars).set({ occurrences: shifted, tzVersion: '2000a' });
  await db
    .update(schedules)
    .set({ nextRunAt: sql`next_run_at + interval '1 hour'` })
    .where(eq(schedules.workflowId, id));
  await db
    .update(schedules)
    .set({ nextRunAt: sql`now() - interval '30 seconds'` })
    .where(eq(schedules.workflowId, past.id));
  const waiting = await nextOf(past.id);
  expect((await recomputeCalendars(db, { after: NO_ID, limit: 10 })).count).toBe(2);
  await replanSlots(db, { after: NO_ID, limit: 10 });
  expect(await nextOf(id)).toBe(next);
  expect(await nextOf(past.id)).toBe(waiting);
  await db.update(calendars).set({ occurrences: shifted, tzVersion: '2999z', refillAt: sql`now()` });
  expect((await recomputeCalendars(db, { after: NO_ID, limit: 10 })).count).toBe(0);
  expect(await refillCalendars(db, { limit: 10 })).toEqual({ count: 0, failed: [] });
});

test('a worker with older time-zone data goes on where the occurrences of newer data end, and changes none of them', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await align(db, id);
  await db.update(calendars).set({ tzVersion: '2999z' });
  const tzVersion = async () => (await calendarRows())[0]?.tzVersion;
  await letPass(db, id, 60);
  await run(db, { status: 'COMPLETED' });
  expect(await tzVersion()).toBe('2999z');
  await letPass(db, id, 40 * HOUR_SECONDS); // the others have passed
  await run(db, { status: 'COMPLETED' });
  expect(await tzVersion()).toBe(TIME_ZONE_DATA);
  await refillCalendars(db, { limit: 10 });
  expect((await calendarRows())[0]?.occurrences).toHaveLength(128);
});

test('a calendar that cannot be computed holds up no other one, is reported, and is looked at again later', async () => {
  const { db } = database;
  await scheduled(db, ann, { cron: { expressions: ['0 3 * * *'], timeZone: 'UTC' } });
  await db.update(calendars).set({ timeZone: 'Mars/Olympus', refillAt: sql`now() - interval '1 hour'` });
  const [bad] = await calendarRows();
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await letPass(db, id, HOUR_SECONDS);
  const { count, failed } = await refillCalendars(db, { limit: 10 });
  expect(count).toBe(2);
  expect(failed).toEqual([{ id: bad?.id, timeZone: 'Mars/Olympus', error: expect.any(RangeError) }]);
  expect(await schedule(db)).toHaveLength(1);
  expect(await refillCalendars(db, { limit: 10 })).toEqual({ count: 0, failed: [] });
  await db.update(calendars).set({ refillAt: sql`refill_at - interval '11 minutes'` });
  expect((await refillCalendars(db, { limit: 10 })).failed).toHaveLength(1);
});

test('a schedule that runs long after its slots has each of them, though its calendar is filled meanwhile', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await align(db, id);
  await db.update(schedules).set({ delaySeconds: 45 * 60 });
  const first = (await nextOf(id)) ?? 0;
  await letPass(db, id, 45 * 60);
  const slots: number[] = [];
  const expected: number[] = [];
  for (let minute = 1; minute <= 70; minute++) {
    await letPass(db, id, 60);
    await refillCalendars(db, { limit: 10 });
    const [job] = await claim(db, await schedule(db));
    await end(db, job ?? fail(), { status: 'COMPLETED' });
    const [newest = 0] = (await slotsOf(id)).sort((one, other) => other - one);
    slots.push(newest + (45 + minute) * 60_000);
    expected.push(first + (minute - 1) * 60_000);
  }
  expect(slots).toEqual(expected);
  expect((await scheduleOf(db, id))?.skippedRunCount).toBe(0);
  expect((await calendarRows())[0]?.occurrences.length).toBeLessThanOrEqual(128 + 46);
});

test.each([
  ['* * * * *', 1_500],
  ['*/3 * * * *', 20 * 40 + 1],
  ['0 * * * *', 40 + 1],
  ['0 0 29 2 *', 1],
])('a calendar keeps what passed in the 40 hours of a delay, and 1,500 at most: %s', async (expression, kept) => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { cron: { expressions: [expression], timeZone: 'UTC' } });
  await db.update(schedules).set({ delaySeconds: 40 * HOUR_SECONDS });
  await letPass(db, id, 30 * 365 * 24 * HOUR_SECONDS); // nothing of the calendar is left
  await refillCalendars(db, { limit: 1 });
  const { occurrences = [] } = (await calendarRows())[0] ?? {};
  const passed = occurrences.filter((at) => at.getTime() <= Date.now());
  expect(passed.length).toBeGreaterThanOrEqual(kept - 1); // an occurrence may just have passed
  expect(passed.length).toBeLessThanOrEqual(kept);
  expect(occurrences.length - passed.length).toBe(127);
});

test.each([
  ['before the last slot, which has run, and does not run again', 40, 60],
  ['before more than the last slot, and they run again', 160, 0],
  ['before many slots, and they run again', 30 * 60, 0],
])('when the clock is set back, the next slot is the next occurrence: %s', async (_, seconds, later) => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await align(db, id);
  await letPass(db, id, 60);
  await run(db, { status: 'COMPLETED' });
  await letPass(db, id, -seconds);
  const renewed = await renewSlots(db, { all: true, signal: new AbortController().signal });
  expect(renewed.schedules).toBe(later > 0 ? 0 : 1);
  const next = ((await nextOf(id)) ?? 0) - later * 1_000;
  expect(next).toBeGreaterThan(Date.now() - 1_000);
  expect(next).toBeLessThanOrEqual(Date.now() + 60_000);
});

test('a worker goes on by itself with a schedule whose calendar was used up, and publishes its job', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await letPass(db, id, 40 * HOUR_SECONDS);
  const parts = memoryParts(db);
  const [scheduling, execution] = [await startScheduling(parts), await startExecution(parts)];
  await until('a job has completed', async () => (await jobsOf(db, id)).some(({ status }) => status === 'COMPLETED'));
  await Promise.all([scheduling.close(), execution.close()]);
  await Promise.all([parts.bus.close(), parts.cache.close()]);
});

test('a calendar that no schedule has is removed after a day, and one that is used is not', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, EVERY_MINUTE);
  await scheduled(db, ann, { cron: { expressions: ['0 3 * * *'], timeZone: 'UTC' } });
  await updateWorkflow(db, { userId: ann, id, schedule: { manual: true } });
  expect(await removeUnusedCalendars(db)).toBe(0);
  await db.update(calendars).set({ usedAt: sql`now() - interval '25 hours'` });
  expect(await removeUnusedCalendars(db)).toBe(1);
  expect((await calendarRows()).map(({ expressions }) => expressions)).toEqual([['0 3 * * *']]);
});

test('intervals, calendars and times that are due together make a job each in one statement', async () => {
  const { db } = database;
  const workflows = [await heartbeat(db, ann), await scheduled(db, ann, EVERY_MINUTE)];
  workflows.push(await scheduled(db, ann, { at: new Date(Date.now() + 1_000).toISOString() }));
  for (const { id } of workflows) await letPass(db, id, 60);
  expect(await schedule(db)).toHaveLength(3);
});

function fail(): never {
  throw new Error('There is no job.');
}
