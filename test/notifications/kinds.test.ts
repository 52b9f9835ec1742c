import { asc, eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { setNotificationPreference } from '../../db/notifications.ts';
import { builds, notifications } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { messageOf, NOTIFICATION_PREFERENCES, titleOf } from '../../domain/notifications.ts';
import { claim, end, heartbeat, run, schedule } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(async () => {
  await database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, notifications CASCADE`);
  await setNotificationPreference(database.db, ann, 'ALERTS');
});
afterAll(() => database.close());

const completed = { status: 'COMPLETED' } as const;
const failure = { status: 'FAILED', failureReason: 'EXIT_CODE', failureMessage: 'It exited with the code 3.' } as const;

/** Ann's notifications, oldest first. */
async function notified() {
  return database.db.select().from(notifications).where(eq(notifications.userId, ann)).orderBy(asc(notifications.id));
}
const kinds = async () => (await notified()).map(({ kind }) => kind);

describe('the notifications of an end', () => {
  const story = [completed, failure, failure, completed, completed, failure, { status: 'CANCELED' } as const];
  const expected = {
    NONE: [],
    ALERTS: ['JOB_FAILED', 'JOB_FAILED', 'WORKFLOW_RECOVERED', 'JOB_FAILED'],
    ALL: [
      'JOB_COMPLETED',
      'JOB_FAILED',
      'JOB_FAILED',
      'JOB_COMPLETED',
      'WORKFLOW_RECOVERED',
      'JOB_COMPLETED',
      'JOB_FAILED',
    ],
  };
  test.each(NOTIFICATION_PREFERENCES)('P9: with the preference %s', async (preference) => {
    const { db } = database;
    await setNotificationPreference(db, ann, preference);
    const { id } = await heartbeat(db, ann);
    for (const outcome of story) {
      await run(db, outcome);
      await letPass(db, id, 60);
    }
    expect(await kinds()).toEqual(expected[preference]);
  });
});

test('the threshold notifies of the last failure, then of the termination, each with its own text', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { failuresAllowed: 1 });
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  const { effects } = await endJobs(db, [{ ...job, ...failure, logLineCount: 0 }]);
  const rows = await notified();
  expect(rows.map((row) => [row.workflowId, row.jobId, titleOf(row), messageOf(row)])).toEqual([
    [id, job.id, 'A job of test has failed', 'It exited with the code 3.'],
    [id, null, 'test was terminated', 'It has had 1 failure in a row, as many as it allows: it will not run again.'],
  ]);
  expect(new Set(effects.changed.flatMap(({ notifications = [] }) => notifications))).toEqual(
    new Set(rows.map((row) => row.id)),
  );
});

test('P9: a set that is ended twice, or by a worker that has lost its lease, notifies once', async () => {
  const { db } = database;
  await setNotificationPreference(db, ann, 'ALL');
  for (let n = 0; n < 4; n++) await heartbeat(db, ann);
  const jobs = await claim(db, await schedule(db));
  const outcomes = jobs.map((job, n) => ({ ...job, ...(n % 2 ? failure : completed), logLineCount: 0 }));
  await Promise.all([endJobs(db, outcomes), endJobs(db, outcomes), endJobs(db, outcomes)]);
  expect((await kinds()).sort()).toEqual(['JOB_COMPLETED', 'JOB_COMPLETED', 'JOB_FAILED', 'JOB_FAILED']);
});

test('P9: failures of the platform notify of the job: those that a worker reports, and those that the sweep finds', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann, { failuresAllowed: 1 });
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('no job');
  await end(db, job, { status: 'FAILED', failureReason: 'SYSTEM' });
  await letPass(db, id, 60);
  for (let attempt = 1; attempt <= 3; attempt++) {
    await schedule(db);
    await claim(db, [(await jobsOf(db, id)).at(-1)?.id ?? '']);
    await letPass(db, id, 31);
    await schedule(db);
    await letPass(db, id, 11);
  }
  const rows = await notified();
  expect(rows.map(({ kind }) => kind)).toEqual(['JOB_FAILED', 'JOB_FAILED']);
  expect(rows.at(-1)).toMatchObject({ detail: expect.stringMatching(/worker that ran it was lost/) });
});

test('a requested termination or cancellation sends no notification', async () => {
  const { db } = database;
  const { id } = await heartbeat(db, ann);
  const [job] = await schedule(db);
  await cancelJob(db, { userId: ann, id: job ?? '' });
  await terminateWorkflow(db, { userId: ann, id });
  expect(await notified()).toEqual([]);
});

test('P9: a failed build notifies once with its reason: by its worker, or by the sweep if the worker is lost', async () => {
  const { db } = database;
  const container = async () => {
    const { buildId, workflow } = await createWorkflow(db, {
      userId: ann,
      name: 'image',
      payload: { kind: 'CONTAINER', image: 'alpine:3' },
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: 1,
    });
    const [build] = (await claimBuilds(db, [buildId ?? ''], { owner: 'test' })).claimed;
    if (build === undefined) throw new Error('no build');
    return { build, workflow };
  };
  const { build, workflow } = await container();
  const outcome = { ...build, status: 'FAILED', error: 'No such image.', logLineCount: 0 } as const;
  const [ended, again] = [await endBuild(db, outcome), await endBuild(db, outcome)];
  const rows = await notified();
  expect(rows).toMatchObject([
    { kind: 'WORKFLOW_BUILD_FAILED', workflowId: workflow.id, jobId: null, detail: 'No such image.' },
  ]);
  expect(ended?.changed).toContainEqual({ userId: ann, notifications: [rows[0]?.id] });
  expect(again).toBeUndefined();

  const lost = await container();
  await db
    .update(builds)
    .set({ attempt: 3, leaseExpiresAt: sql`now() - interval '1 second'` })
    .where(eq(builds.id, lost.build.id));
  const watchedSeconds = () => Number.POSITIVE_INFINITY;
  await Promise.all([sweepBuilds(db, { watchedSeconds }), sweepBuilds(db, { watchedSeconds })]);
  expect(await kinds()).toEqual(['WORKFLOW_BUILD_FAILED', 'WORKFLOW_BUILD_FAILED']);
});
