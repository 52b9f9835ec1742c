import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { renewLeases } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { INTERVAL_MINUTES_MAX } from '../../domain/limits.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { claim, end, heartbeat, run, schedule, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests CASCADE`));
afterAll(() => database.close());

test('P1: the first slot is the creation, and later ones follow at whole intervals, however long a run takes', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const first = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  for (let n = 0; n < 5; n++) {
    await run(db, { status: 'COMPLETED' });
    expect((await scheduleOf(db, id))?.nextRunAt?.getTime()).toBe(first + 60_000);
    await letPass(db, id, 60); // moves the earlier slots too
  }
  const slots = (await jobsOf(db, id)).map((job) => job.scheduledAt.getTime());
  expect(new Set(slots.slice(1).map((slot, n) => slot - (slots[n] ?? 0)))).toEqual(new Set([60_000]));
});

test('P1: of the slots missed while everything was down, only the last one runs, late, with its own time', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 2 });
  await run(db, { status: 'COMPLETED' });
  const next = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  await letPass(db, id, 3600);
  const dispatched = await schedule(db);
  expect(dispatched).toHaveLength(1);
  const late = (await jobsOf(db, id)).at(-1);
  const following = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  expect(following - (late?.scheduledAt.getTime() ?? 0)).toBe(120_000);
  expect(following).toBe(next); // an hour is a whole number of intervals, so the grid has not moved
});

test('P1: the same at the longest interval, after several missed slots', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: INTERVAL_MINUTES_MAX });
  await run(db, { status: 'COMPLETED' });
  const year = INTERVAL_MINUTES_MAX * 60;
  const next = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  await letPass(db, id, 50 * year);
  expect(await schedule(db)).toHaveLength(1);
  const late = (await jobsOf(db, id)).find(({ status }) => status === 'QUEUED');
  expect((await scheduleOf(db, id))?.nextRunAt?.getTime()).toBe(next);
  expect(late?.scheduledAt.getTime()).toBe(next - year * 1_000);
});

test('P1: any number of schedulers make one job for each slot', async () => {
  const { db } = database;
  const ids = await Promise.all(Array.from({ length: 60 }, async () => (await heartbeat(db, ann)).id));
  await Promise.all(Array.from({ length: 8 }, () => schedule(db)));
  for (const id of ids) expect(await jobsOf(db, id)).toHaveLength(1);
});

test('P2: a due slot waits for the active job, and then runs once', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [first] = await claim(db, await schedule(db));
  await letPass(db, id, 185); // three slots come due while the job runs
  if (first === undefined) throw new Error('no job');
  await renewLeases(db, [first]);
  expect(await schedule(db)).toEqual([]);
  expect((await scheduleOf(db, id))?.waiting).toBe(true);
  await end(db, first, { status: 'COMPLETED' });
  expect(await schedule(db)).toHaveLength(1);
  expect(await schedule(db)).toEqual([]);
  expect(await jobsOf(db, id)).toHaveLength(2);
});

test('P2: requested jobs run one after the other, and a waiting slot comes after them', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [slot] = await claim(db, await schedule(db));
  const requested = [await runWorkflow(db, { userId: ann, id }), await runWorkflow(db, { userId: ann, id })];
  const ids = requested.map((request) => (request.outcome === 'REQUESTED' ? request.job.id : ''));
  expect(await schedule(db)).toEqual([]);
  for (const waiting of ids) {
    const active = waiting === ids[0] ? slot : (await claim(db, [ids[0] ?? '']))[0];
    if (active === undefined) throw new Error('no active job');
    await end(db, active, { status: 'COMPLETED' });
    expect(await schedule(db)).toEqual([waiting]);
  }
});

test('a change of the interval counts from the last slot, and keeps a first slot that has not run', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 10 });
  const first = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  await updateWorkflow(db, { userId: ann, id, schedule: { everyMinutes: 5 } });
  expect((await scheduleOf(db, id))?.nextRunAt?.getTime()).toBe(first);
  await run(db, { status: 'COMPLETED' });
  await updateWorkflow(db, { userId: ann, id, schedule: { everyMinutes: 3 } });
  expect((await scheduleOf(db, id))?.nextRunAt?.getTime()).toBe(first + 180_000);
});

test('a shorter interval runs its last slot that has passed, and counts none that never was', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { intervalMinutes: 600 });
  await run(db, { status: 'COMPLETED' });
  const first = (await scheduleOf(db, id))?.lastSlotAt?.getTime() ?? 0;
  await letPass(db, id, 305);
  await updateWorkflow(db, { userId: ann, id, schedule: { everyMinutes: 1 } });
  expect((await scheduleOf(db, id))?.nextRunAt?.getTime()).toBe(first - 305_000 + 300_000);
  expect(await schedule(db)).toHaveLength(1);
  expect((await scheduleOf(db, id))?.skippedRunCount).toBe(0);
});
