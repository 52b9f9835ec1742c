import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { notifyWatchedRuns } from '../../db/jobs/watched-runs.ts';
import { notifications } from '../../db/schema.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID } from '../../domain/ids.ts';
import { toRunPolicy } from '../../domain/schedule/run-policy.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass, until } from '../support/time.ts';
import { memoryParts, quiet } from '../support/workers.ts';
import { claim, end, schedule, scheduled, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, notifications CASCADE`));
afterAll(() => database.close());

const look = async () => (await notifyWatchedRuns(database.db, { after: NO_ID, limit: 10 })).count;
const notified = () => database.db.select().from(notifications).orderBy(notifications.id);
async function begin(id: string) {
  const [job] = await claim(database.db, await schedule(database.db));
  if (job === undefined) throw new Error(`${id} has no job.`);
  return job;
}

test('a job that has not started in time is late, once, whichever of several looks comes first', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy: { lateAfterSeconds: 60 } });
  const [jobId] = await schedule(db);
  await letPass(db, id, 55);
  expect(await look()).toBe(0);
  await letPass(db, id, 10);
  const counts = await Promise.all([look(), look(), look()]);
  expect(counts.reduce((sum, count) => sum + count)).toBe(1);
  expect(await notified()).toMatchObject([
    {
      kind: 'RUN_LATE',
      jobId,
      detail: expect.stringMatching(/^The run of .*Z had not started 60 s after it was due\.$/),
    },
  ]);
});

test('the scheduling worker looks by itself', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy: { expectedMaxSeconds: 100 } });
  await begin(id);
  await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds'`);
  const worker = await startScheduling({ ...memoryParts(db), log: quiet });
  try {
    await until('the notification', async () => (await notified()).length > 0);
    expect(await notified()).toMatchObject([{ kind: 'JOB_LONG', workflowId: id }]);
  } finally {
    await worker.close();
  }
});

test('a slot that waits for a job is late too, without a job', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 10 }, { runPolicy: { lateAfterSeconds: 60 } });
  const job = await begin(id);
  await letPass(db, id, 670);
  await renewLeases(db, [job]);
  await db.execute(sql`UPDATE jobs SET started_at = scheduled_at`);
  expect(await look()).toBe(1);
  expect(await look()).toBe(0);
  expect(await notified()).toMatchObject([{ kind: 'RUN_LATE', jobId: null }]);
});

test('of slots that wait behind a job that was late itself, the last one is late: it is the one that runs', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 10 }, { runPolicy: { lateAfterSeconds: 60 } });
  const ids = await schedule(db);
  await letPass(db, id, 70);
  const [job] = await claim(db, ids);
  expect(await look()).toBe(1);
  await letPass(db, id, 1_140); // two slots wait, the second one for 10 s
  await renewLeases(db, job ? [job] : []);
  expect(await look()).toBe(0);
  await letPass(db, id, 60);
  expect(await look()).toBe(1);
  expect(await look()).toBe(0);
  const [late, waiting] = await notified();
  expect([late?.jobId, waiting?.jobId]).toEqual([job?.id, null]);
  const next = (await scheduleOf(db, id))?.nextRunAt ?? new Date(0);
  expect(waiting?.detail).toContain(new Date(next.getTime() + 600_000).toISOString());
});

test('a job that runs longer than expected is notified once, and goes on', async () => {
  const { db } = database;
  const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy: { expectedMaxSeconds: 100 } });
  const job = await begin(id);
  expect(await look()).toBe(0);
  await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds'`);
  expect(await look()).toBe(1);
  expect(await look()).toBe(0);
  expect(await notified()).toMatchObject([{ kind: 'JOB_LONG', jobId: job.id }]);
  await end(db, job, { status: 'COMPLETED' });
  expect(await look()).toBe(0);
});

test('a job that completes sooner than expected is notified, and one that fails or takes its time is not', async () => {
  const { db } = database;
  const policy = { runPolicy: { expectedMinSeconds: 100 } };
  const short = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await end(db, short, { status: 'COMPLETED' });
  expect(await notified()).toMatchObject([
    { kind: 'JOB_SHORT', jobId: short.id, detail: 'It completed after 0 s, and at least 100 s are expected.' },
  ]);
  const long = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds' WHERE id = ${long.id}`);
  await end(db, long, { status: 'COMPLETED' });
  const failing = await begin((await scheduled(db, ann, { everyMinutes: 600 }, policy)).id);
  await end(db, failing, { status: 'FAILED', failureReason: 'CHECK_FAILED' });
  expect((await notified()).map(({ kind }) => kind)).toEqual(['JOB_SHORT', 'JOB_FAILED']);
});

describe('with retries and workers that are lost', () => {
  const POLICY = {
    runPolicy: {
      lateAfterSeconds: 60,
      expectedMaxSeconds: 100,
      expectedMinSeconds: 10,
      retry: { maxRetries: 3, delaySeconds: 200 },
    },
  };
  const failed = { status: 'FAILED', failureReason: 'CHECK_FAILED' } as const;

  /** A job that began in time. What ends its attempt is followed by ten minutes of looks. */
  async function begun(endsBy: (job: ClaimedJob) => Promise<unknown>) {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 600 }, POLICY);
    const job = await begin(id);
    await endsBy(job);
    return { db, id, job };
  }
  async function lookFor(id: string, seconds: number) {
    for (let passed = 0; passed < seconds; passed += 30) {
      await letPass(database.db, id, 30);
      await database.db.execute(sql`
        UPDATE jobs SET started_at = started_at - interval '30 seconds', completed_at = completed_at - interval '30 seconds'
        WHERE workflow_id = ${id}`);
      await look();
    }
  }
  const kinds = async () => (await notified()).map(({ kind }) => kind);

  test('a run that began in time is neither late nor long while its job waits for the next attempt, nor in it', async () => {
    const { db, id } = await begun((job) => end(database.db, job, failed));
    await lookFor(id, 240);
    expect(await kinds()).toEqual([]);
    const second = await begin(id);
    await lookFor(id, 30);
    expect(await kinds()).toEqual([]);
    await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds'`);
    await look();
    expect(await kinds()).toEqual(['JOB_LONG']);
    await end(db, second, failed);
    await lookFor(id, 480);
    const third = await begin(id);
    await db.execute(sql`UPDATE jobs SET started_at = now() - interval '101 seconds'`);
    await look();
    expect(await kinds()).toEqual(['JOB_LONG']); // once a job
    await db.execute(sql`UPDATE jobs SET started_at = now() - interval '9 seconds'`);
    await end(db, third, { status: 'COMPLETED' });
    expect(await kinds()).toEqual(['JOB_LONG', 'JOB_SHORT']); // by the attempt that completed
    await lookFor(id, 120);
    expect(await kinds()).toEqual(['JOB_LONG', 'JOB_SHORT']);
  });

  test('a run whose worker was lost has begun', async () => {
    const { db, id } = await begun(async () => undefined);
    await letPass(db, id, 50);
    await schedule(db);
    await lookFor(id, 300);
    await begin(id);
    await lookFor(id, 30);
    expect(await kinds()).toEqual([]);
  });

  test('a container that was returned before its start has not begun, and the first attempt that prints begins the run', async () => {
    const { db, id } = await begun((job) => returnJobs(database.db, [job]));
    await lookFor(id, 30);
    expect(await kinds()).toEqual([]);
    await lookFor(id, 60);
    expect(await kinds()).toEqual(['RUN_LATE']);
    await begin(id);
    await db.execute(sql`UPDATE jobs SET scheduled_at = scheduled_at + interval '1 second'`);
    await look();
    expect(await kinds()).toEqual(['RUN_LATE', 'RUN_LATE']); // it is known when it began
  });

  test('a job that was canceled in time is not late afterwards', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 600 }, POLICY);
    const [job = ''] = await schedule(db);
    await cancelJob(db, { userId: ann, id: job });
    await lookFor(id, 120);
    const second = await scheduled(db, ann, { everyMinutes: 600 }, POLICY);
    await end(db, await begin(second.id), failed);
    const [waiting] = await jobsOf(db, second.id);
    await cancelJob(db, { userId: ann, id: waiting?.id ?? '' });
    await lookFor(second.id, 120);
    expect(await kinds()).toEqual([]);
  });

  test('another spread makes no run late that began before', async () => {
    const { db } = database;
    const id = '019a0000-0000-7000-8000-000000000001';
    const runPolicy = { lateAfterSeconds: 60, spreadSeconds: 3_600 };
    await scheduled(db, ann, { everyMinutes: 600 }, { id, runPolicy });
    const { delaySeconds = 0 } = (await scheduleOf(db, id)) ?? {};
    expect(delaySeconds).toBeGreaterThan(200);
    await letPass(db, id, delaySeconds + 1);
    const job = await begin(id);
    await end(db, job, { status: 'COMPLETED' });
    await updateWorkflow(db, { userId: ann, id, runPolicy: toRunPolicy({ lateAfterSeconds: 60 }) });
    await lookFor(id, 60);
    expect(await kinds()).toEqual([]);
  });
});
