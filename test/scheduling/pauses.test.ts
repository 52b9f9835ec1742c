import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { renewLeases } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { notifications, workflows } from '../../db/schema.ts';
import { failuresInARow, isPaused, pauseWorkflow, resumeWorkflow } from '../../db/workflows/pause.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { align, claim, EVERY_MINUTE, end, run, schedule, scheduled, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  bob = await testUser(database.db, 'bob');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, calendars CASCADE`));
afterAll(() => database.close());

const nextOf = async (id: string) => (await scheduleOf(database.db, id))?.nextRunAt?.getTime();
const stored = async (id: string) => (await database.db.select().from(workflows).where(eq(workflows.id, id)))[0];

describe.each([
  ['an interval', { everyMinutes: 1 }],
  ['a calendar', EVERY_MINUTE],
] as const)('with %s', (_, timing) => {
  async function begun() {
    const { db } = database;
    const { id } = await scheduled(db, ann, timing);
    if ('cron' in timing) {
      await align(db, id);
      await letPass(db, id, 60);
    }
    await run(db, { status: 'COMPLETED' });
    return { db, id };
  }

  test('a paused workflow makes no slots, and goes on at its first slot after the pause', async () => {
    const { db, id } = await begun();
    const grid = (await nextOf(id)) ?? 0;
    await pauseWorkflow(db, { userId: ann, id });
    await letPass(db, id, 600);
    expect(await schedule(db)).toEqual([]);
    expect((await scheduleOf(db, id))?.wakeAt).toBeNull();
    await resumeWorkflow(db, { userId: ann, id });
    expect(await schedule(db)).toEqual([]);
    const next = (await nextOf(id)) ?? 0;
    expect(next).toBeGreaterThan(Date.now() - 2_000);
    expect(next).toBeLessThanOrEqual(Date.now() + 60_000);
    expect((next - grid) % 60_000).toBe(0);
    expect((await scheduleOf(db, id))?.skippedRunCount).toBe(0);
    await letPass(db, id, 60);
    expect(await schedule(db)).toHaveLength(1);
  });

  test('a pause ends by itself, and the last slot after its end runs if nothing looked before', async () => {
    const { db, id } = await begun();
    await pauseWorkflow(db, { userId: ann, id, until: new Date(Date.now() + 300_000) });
    expect(await schedule(db)).toEqual([]);
    await letPass(db, id, 240);
    expect(await schedule(db)).toEqual([]);
    await letPass(db, id, 240);
    expect(await schedule(db)).toHaveLength(1);
    expect(await scheduleOf(db, id)).toMatchObject({ paused: false, pausedUntil: null });
  });

  test('a slot that waits for a job when the pause begins never runs', async () => {
    const { db, id } = await begun();
    await letPass(db, id, 60);
    const [job] = await claim(db, await schedule(db));
    if (job === undefined) throw new Error('There is no job.');
    await letPass(db, id, 60);
    await renewLeases(db, [job]);
    expect(await schedule(db)).toEqual([]);
    await pauseWorkflow(db, { userId: ann, id });
    expect(await schedule(db)).toEqual([]);
    await end(db, job, { status: 'COMPLETED' });
    await resumeWorkflow(db, { userId: ann, id });
    expect(await schedule(db)).toEqual([]);
  });
});

test('runs can be requested while a workflow is paused', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { manual: true });
  await pauseWorkflow(db, { userId: ann, id });
  expect((await runWorkflow(db, { userId: ann, id })).outcome).toBe('REQUESTED');
  expect(await schedule(db)).toHaveLength(1);
  expect(await jobsOf(db, id)).toMatchObject([{ trigger: 'MANUAL', status: 'QUEUED' }]);
});

test('a time that passes in a pause never runs', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { at: new Date(Date.now() + 60_000).toISOString() });
  await pauseWorkflow(db, { userId: ann, id });
  await letPass(db, id, 120);
  await resumeWorkflow(db, { userId: ann, id });
  expect(await schedule(db)).toEqual([]);
  expect(await nextOf(id)).toBeUndefined();
});

test('both verbs are idempotent, another end and note replace those before, and the past is no end', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 1 });
  const resumed = await resumeWorkflow(db, { userId: ann, id });
  expect(resumed).toMatchObject({ outcome: 'CHANGED', workflow: { pausedAt: null } });
  await pauseWorkflow(db, { userId: ann, id, note: 'Disk is full' });
  const first = await stored(id);
  await pauseWorkflow(db, { userId: ann, id, note: 'Disk is full' });
  expect(await stored(id)).toEqual(first);
  const until = new Date(Date.now() + 60_000);
  await pauseWorkflow(db, { userId: ann, id, until });
  expect(await stored(id)).toMatchObject({ pausedAt: first?.pausedAt, pausedUntil: until, pauseNote: null });
  expect(await pauseWorkflow(db, { userId: ann, id, until: new Date(Date.now() - 1_000) })).toMatchObject({
    outcome: 'UNTIL_PASSED',
  });
  expect(await stored(id)).toMatchObject({ pausedUntil: until });
  await resumeWorkflow(db, { userId: ann, id });
  await resumeWorkflow(db, { userId: ann, id });
  expect(await stored(id)).toMatchObject({ pausedAt: null, pausedUntil: null, pauseReason: null });
});

test('nobody pauses the workflow of another user, or one that is terminated', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 1 });
  for (const verb of [pauseWorkflow, resumeWorkflow])
    expect(await verb(db, { userId: bob, id })).toEqual({ outcome: 'NOT_FOUND' });
  await terminateWorkflow(db, { userId: ann, id });
  for (const verb of [pauseWorkflow, resumeWorkflow])
    expect(await verb(db, { userId: ann, id })).toEqual({ outcome: 'TERMINATED' });
});

test('resuming a workflow that was paused for its failures begins its count anew', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 1, onTooManyFailures: 'PAUSE' });
  await run(db, { status: 'FAILED', failureReason: 'CHECK_FAILED' });
  const paused = await stored(id);
  expect(paused && isPaused(paused)).toBe(true);
  await resumeWorkflow(db, { userId: ann, id });
  expect(await stored(id)).toMatchObject({ consecutiveJobFailuresCount: 0, pausedAt: null });
  await letPass(db, id, 60);
  await run(db, { status: 'COMPLETED' });
});

test('a failure during a pause for failures leaves the end that the pause was given', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 1, onTooManyFailures: 'PAUSE' });
  const failed = { status: 'FAILED', failureReason: 'CHECK_FAILED' } as const;
  await run(db, failed);
  const until = new Date(Date.now() + 600_000);
  await pauseWorkflow(db, { userId: ann, id, until });
  await runWorkflow(db, { userId: ann, id });
  await run(db, failed);
  expect(await stored(id)).toMatchObject({ pauseReason: 'FAILURES', pausedUntil: until });
  expect(await scheduleOf(db, id)).toMatchObject({ paused: true, pausedUntil: until });
});

test('a pause for failures keeps the note of a pause that it replaces, and not one of before', async () => {
  const { db } = database;
  const begun = async () =>
    (await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 1, onTooManyFailures: 'PAUSE' })).id;
  for (const [seconds, note] of [
    [0, 'Disk is full'],
    [700, null],
  ] as const) {
    const id = await begun();
    const [job] = await claim(db, await schedule(db));
    if (job === undefined) throw new Error('There is no job.');
    await pauseWorkflow(db, { userId: ann, id, until: new Date(Date.now() + 600_000), note: 'Disk is full' });
    await letPass(db, id, seconds);
    await end(db, job, { status: 'FAILED', failureReason: 'CHECK_FAILED' });
    expect(await stored(id)).toMatchObject({ pauseReason: 'FAILURES', pausedUntil: null, pauseNote: note });
  }
});

test('a pause for failures that ends by itself begins the count anew, as resuming does', async () => {
  const { db } = database;
  const failed = { status: 'FAILED', failureReason: 'CHECK_FAILED' } as const;
  async function over() {
    const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 2, onTooManyFailures: 'PAUSE' });
    await run(db, failed);
    await letPass(db, id, 60);
    await run(db, failed);
    await pauseWorkflow(db, { userId: ann, id, until: new Date(Date.now() + 60_000), note: 'Disk is full' });
    await letPass(db, id, 120);
    const row = await stored(id);
    expect(row && isPaused(row)).toBe(false);
    expect(row && failuresInARow(row)).toBe(0);
    return id;
  }
  const first = await over();
  await run(db, failed);
  expect(await stored(first)).toMatchObject({ consecutiveJobFailuresCount: 1, pausedAt: null, pausedUntil: null });
  expect(await stored(first)).toMatchObject({ pauseReason: null, pauseNote: null });
  await letPass(db, first, 60);
  await run(db, failed);
  expect(await stored(first)).toMatchObject({ consecutiveJobFailuresCount: 2, pauseReason: 'FAILURES' });
  await letPass(db, first, 60);
  expect(await schedule(db)).toEqual([]);

  const second = await over();
  await run(db, { status: 'COMPLETED' });
  expect(await stored(second)).toMatchObject({ consecutiveJobFailuresCount: 0, pauseReason: null });
  const sent = await db.select().from(notifications).where(eq(notifications.workflowId, second));
  expect(sent.map(({ kind }) => kind)).not.toContain('WORKFLOW_RECOVERED');

  const third = await over();
  await pauseWorkflow(db, { userId: ann, id: third });
  expect(await stored(third)).toMatchObject({ consecutiveJobFailuresCount: 0, pauseReason: 'REQUESTED' });
  await runWorkflow(db, { userId: ann, id: third });
  await run(db, failed);
  expect(await stored(third)).toMatchObject({ consecutiveJobFailuresCount: 1, pauseReason: 'REQUESTED' });
});

test('resuming after a pause has ended by itself changes nothing', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 1, onTooManyFailures: 'PAUSE' });
  await run(db, { status: 'FAILED', failureReason: 'CHECK_FAILED' });
  await pauseWorkflow(db, { userId: ann, id, until: new Date(Date.now() + 60_000) });
  await db.execute(sql`UPDATE workflows SET paused_until = now() - interval '1 second'`);
  await letPass(db, id, 120);
  const before = await stored(id);
  expect(await resumeWorkflow(db, { userId: ann, id })).toMatchObject({ outcome: 'CHANGED' });
  expect(await stored(id)).toEqual(before);
});
