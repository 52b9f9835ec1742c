import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { takeOverJobs } from '../../db/jobs/claim.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { workflows } from '../../db/schema.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { claim, end, heartbeat, schedule, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
let id: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(async () => {
  await database.db.execute(sql`TRUNCATE workflows, jobs, run_requests CASCADE`);
  id = (await heartbeat(database.db, ann, { intervalMinutes: 60 })).id;
});
afterAll(() => database.close());

test('P3: a job whose event was lost is dispatched again', async () => {
  const { db } = database;
  const [job] = await schedule(db);
  await letPass(db, id, 31);
  expect(await schedule(db)).toEqual([job]);
  expect(await schedule(db)).toEqual([]); // not again at once
});

test('P3: a job whose row was made but never marked QUEUED is dispatched', async () => {
  const { db } = database;
  const { effects } = await queueDueSlots(db, { limit: 10 }); // then the scheduler dies
  await letPass(db, id, 31);
  expect(await schedule(db)).toEqual(effects.dispatched.map((job) => job.id));
  expect((await jobsOf(db, id))[0]?.status).toBe('QUEUED');
});

test('P3: a job whose worker is lost is tried again after a back-off, three times in all, then FAILED as SYSTEM, which counts as no failure', async () => {
  const { db } = database;
  for (let attempt = 1; attempt <= 3; attempt++) {
    const ids = attempt === 1 ? await schedule(db) : (await jobsOf(db, id)).map((job) => job.id);
    const [job] = await claim(db, ids);
    expect(job?.attempt).toBe(attempt);
    await letPass(db, id, 31);
    expect(await schedule(db)).toEqual([]); // it was returned and waits
    const [row] = await jobsOf(db, id);
    expect(row?.status).toBe(attempt < 3 ? 'PENDING' : 'FAILED');
    if (attempt < 3) {
      await letPass(db, id, 11);
      expect(await schedule(db)).toHaveLength(1);
    } else {
      expect(row?.failureReason).toBe('SYSTEM');
    }
  }
  const [workflow] = await db.select().from(workflows);
  expect(workflow).toMatchObject({ consecutiveJobFailuresCount: 0, terminatedAt: null });
});

test('a worker that has lost its lease can change nothing', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  await letPass(db, id, 31);
  await schedule(db);
  const before = await jobsOf(db, id);
  expect((await renewLeases(db, [job])).kept.size).toBe(0);
  expect((await end(db, job, { status: 'COMPLETED' })).ended.size).toBe(0);
  expect(await jobsOf(db, id)).toEqual(before);
});

test('an expired lease that its worker renews in time is kept: a single late renewal loses no job', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  await db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 second'`);
  expect((await renewLeases(db, [job])).kept).toEqual(new Set([job.id]));
});

test('P4: after an outage of everything, no attempt is given up before its worker has had time to come back', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  await letPass(db, id, 3_600);
  expect(await schedule(db, { watchedSeconds: 0 })).toEqual([]);
  expect((await renewLeases(db, [job])).kept).toEqual(new Set([job.id]));
  await letPass(db, id, 3_600);
  await schedule(db, { watchedSeconds: 31 });
  expect((await jobsOf(db, id))[0]).toMatchObject({ status: 'PENDING', attempt: 1 });
});

test('P4: adoption takes over an expired lease without counting an attempt, once', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db), 'engine');
  if (job === undefined) throw new Error('no job');
  const adopt = () => takeOverJobs(db, [job], { owner: 'other', engineId: 'engine' });
  expect(await adopt()).toEqual([]); // the lease is still valid
  await letPass(db, id, 31);
  const adopted = (await Promise.all([adopt(), adopt()])).flat();
  expect(adopted).toMatchObject([{ id: job.id, attempt: 1 }]);
  expect((await end(db, job, { status: 'FAILED', failureReason: 'EXIT_CODE' })).ended.size).toBe(0);
});

test('no worker of another engine takes over a job, whatever its engine runs', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db), 'engine');
  if (job === undefined) throw new Error('no job');
  await letPass(db, id, 31);
  const adopt = (engineId: string) => takeOverJobs(db, [job], { owner: 'other', engineId, endedOwners: ['test'] });
  expect(await adopt('another engine')).toEqual([]);
  expect(await adopt('engine')).toMatchObject([{ id: job.id }]);
});

test('the number of a returned attempt is never reused, and the attempt does not count', async () => {
  const { db } = database;
  const [jobId = ''] = await schedule(db);
  const numbers: number[] = [];
  const next = async () => {
    const [job] = await claim(db, [jobId]);
    if (job === undefined) throw new Error('no job');
    numbers.push(job.attempt);
    return job;
  };
  for (let n = 0; n < 4; n++) {
    expect(await returnJobs(db, [await next()])).toMatchObject({ pending: [jobId], canceled: [] });
    expect(await schedule(db)).toEqual([jobId]); // dispatched at once
  }
  for (let n = 0; n < 2; n++) {
    const job = await next();
    expect(job.isLastAttempt).toBe(false);
    await returnJobs(db, [job], { counted: true });
    expect(await schedule(db)).toEqual([]); // it waits for its back-off
    await letPass(db, id, 11);
    expect(await schedule(db)).toEqual([jobId]);
  }
  expect((await next()).isLastAttempt).toBe(true);
  expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await letPass(db, id, 31);
  await schedule(db);
  expect((await jobsOf(db, id))[0]).toMatchObject({ status: 'FAILED', attempt: 7, uncountedAttempts: 4 });
});

test('a returned attempt leaves nothing to settle before the next one prints, but a lost attempt does', async () => {
  const { db } = database;
  const [first] = await claim(db, await schedule(db));
  if (first === undefined) throw new Error('no job');
  await returnJobs(db, [first]);
  const [second] = await claim(db, await schedule(db));
  if (second === undefined) throw new Error('no job');
  expect(second.linesBefore).toBe(0);
  await returnJobs(db, [second], { counted: true });
  await letPass(db, id, 11);
  expect(await claim(db, await schedule(db))).toMatchObject([{ attempt: 3, linesBefore: undefined }]);
});

test('P4: adoption takes over a lease at once from a process that has ended, and from no other', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db), 'engine');
  if (job === undefined) throw new Error('no job');
  const adopt = (endedOwners: string[]) => takeOverJobs(db, [job], { owner: 'other', engineId: 'engine', endedOwners });
  expect(await adopt(['somebody else'])).toEqual([]);
  expect(await adopt(['test'])).toMatchObject([{ id: job.id, attempt: 1 }]);
  expect(await adopt(['test'])).toEqual([]); // the other owner has it now
});

test('a canceled job whose worker is lost becomes CANCELED, and never runs again', async () => {
  const { db } = database;
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  expect((await cancelJob(db, { userId: ann, id: job.id })).outcome).toBe('STOPPING');
  await letPass(db, id, 31);
  await schedule(db);
  expect((await jobsOf(db, id))[0]).toMatchObject({ status: 'CANCELED', leaseToken: null });
  expect((await scheduleOf(db, id))?.wakeAt).not.toBeNull();
});
