import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { workflows } from '../../db/schema.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { claim, end, heartbeat, run, schedule, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  bob = await testUser(database.db, 'bob');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests CASCADE`));
afterAll(() => database.close());

const failure = { status: 'FAILED', failureReason: 'EXIT_CODE' } as const;

async function read(id: string) {
  const [row] = await database.db.select().from(workflows).where(eq(workflows.id, id));
  if (row === undefined) throw new Error('no workflow');
  return row;
}

test('P7: failures in a row terminate at the threshold; a success in between resets the count; SYSTEM and CANCELED do not change it', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { failuresAllowed: 2 });
  const outcomes = [
    failure,
    { status: 'COMPLETED' },
    failure,
    { status: 'FAILED', failureReason: 'SYSTEM' },
    { status: 'CANCELED' },
  ] as const;
  const counts: number[] = [];
  for (const outcome of outcomes) {
    await run(db, outcome);
    counts.push((await read(id)).consecutiveJobFailuresCount);
    await letPass(db, id, 60);
  }
  expect(counts).toEqual([1, 0, 1, 1, 1]);
  expect((await read(id)).terminatedAt).toBeNull();
  await run(db, failure);
  expect(await read(id)).toMatchObject({ consecutiveJobFailuresCount: 2, terminationReason: 'FAILURES' });
});

test('P7: a terminated workflow is never dispatched, run or updated again', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { failuresAllowed: 1 });
  await run(db, failure);
  await letPass(db, id, 3600);
  expect(await schedule(db)).toEqual([]);
  expect(await scheduleOf(db, id)).toBeUndefined(); // the schedule is gone
  expect((await runWorkflow(db, { userId: ann, id })).outcome).toBe('TERMINATED');
  expect((await updateWorkflow(db, { userId: ann, id, name: 'again' })).outcome).toBe('TERMINATED');
});

test('termination cancels PENDING and QUEUED jobs at once, and makes the workers of RUNNING ones stop them', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [running] = await claim(db, await schedule(db));
  const requested = await runWorkflow(db, { userId: ann, id });
  if (running === undefined || requested.outcome !== 'REQUESTED') throw new Error('no jobs');
  const terminated = await terminateWorkflow(db, { userId: ann, id });
  expect(terminated?.effects.stopping).toEqual({ jobIds: [running.id], buildIds: [] });
  const changed = terminated?.effects.changed.flatMap(({ jobs = [] }) => jobs);
  expect(changed?.sort()).toEqual([running.id, requested.job.id].sort());
  expect((await jobsOf(db, id)).map((job) => job.status)).toEqual(['RUNNING', 'CANCELED']);
  await end(db, running, { status: 'CANCELED' });
  expect(await schedule(db)).toEqual([]);
  expect(await scheduleOf(db, id)).toBeUndefined();
});

test('terminating and deleting twice give the same answer and change nothing', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const once = await terminateWorkflow(db, { userId: ann, id });
  expect((await terminateWorkflow(db, { userId: ann, id }))?.workflow).toEqual(once?.workflow);
  const deleted = await deleteWorkflow(db, { userId: ann, id });
  expect(deleted?.workflow).toMatchObject({
    terminationReason: 'REQUESTED',
    terminatedAt: once?.workflow.terminatedAt,
  });
  expect((await deleteWorkflow(db, { userId: ann, id }))?.workflow).toEqual(deleted?.workflow);
});

test('a request at the same instant as a termination leaves no job behind', async () => {
  const { db } = database;
  for (let n = 0; n < 20; n++) {
    const { id } = await heartbeat(db, ann);
    await Promise.all([
      runWorkflow(db, { userId: ann, id }),
      terminateWorkflow(db, { userId: ann, id }),
      schedule(db),
      runWorkflow(db, { userId: ann, id }),
    ]);
    await schedule(db);
    expect((await jobsOf(db, id)).filter((job) => job.completedAt === null)).toEqual([]);
  }
});

test('PENDING and QUEUED jobs can be canceled at once, and ended jobs not at all', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [queued] = await schedule(db);
  const pending = await runWorkflow(db, { userId: ann, id });
  if (queued === undefined || pending.outcome !== 'REQUESTED') throw new Error('no jobs');
  expect((await cancelJob(db, { userId: ann, id: queued })).outcome).toBe('CANCELED');
  expect(await schedule(db)).toEqual([pending.job.id]); // the waiting job is dispatched
  expect((await cancelJob(db, { userId: ann, id: pending.job.id })).outcome).toBe('CANCELED');
  expect((await cancelJob(db, { userId: ann, id: queued })).outcome).toBe('ENDED');
  expect(await claim(db, [queued, pending.job.id])).toEqual([]); // late events have no effect
});

test('Bob can do none of this to Ann’s objects', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [job] = await schedule(db);
  const before = [await read(id), await jobsOf(db, id)];
  expect(await runWorkflow(db, { userId: bob, id })).toEqual({ outcome: 'NOT_FOUND' });
  expect(await updateWorkflow(db, { userId: bob, id, name: 'mine' })).toEqual({ outcome: 'NOT_FOUND' });
  expect(await terminateWorkflow(db, { userId: bob, id })).toBeUndefined();
  expect(await deleteWorkflow(db, { userId: bob, id })).toBeUndefined();
  expect(await cancelJob(db, { userId: bob, id: job ?? '' })).toEqual({ outcome: 'NOT_FOUND' });
  expect([await read(id), await jobsOf(db, id)]).toEqual(before);
});
