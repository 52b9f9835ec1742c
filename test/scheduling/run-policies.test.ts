import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refillCalendars } from '../../db/calendars.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { type ClaimedJob, takeOverJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { notifications, workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { toRunPolicy } from '../../domain/schedule/run-policy.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { align, claim, EVERY_MINUTE, end, run, schedule, scheduled, scheduleOf } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
beforeEach(() => database.db.execute(sql`TRUNCATE workflows, jobs, run_requests, calendars, notifications CASCADE`));
afterAll(() => database.close());

const EVERY_TWO = { everyMinutes: 2 };
const nextOf = async (id: string) => (await scheduleOf(database.db, id))?.nextRunAt?.getTime();
const statusesOf = async (id: string) => (await jobsOf(database.db, id)).map(({ status }) => status);
const notified = async () =>
  (await database.db.select().from(notifications).orderBy(notifications.id)).map(({ kind, detail }) => ({
    kind,
    detail,
  }));
const skipsOf = async (id: string) => (await scheduleOf(database.db, id))?.skippedRunCount;

/** The first job of a workflow, running, and `seconds` of time in which its lease is renewed. */
async function runningFor(id: string, seconds: number): Promise<ClaimedJob> {
  const { db } = database;
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('There is no job.');
  await letPass(db, id, seconds);
  await renewLeases(db, [job]);
  return job;
}

describe.each([
  ['an interval', { everyMinutes: 1 }],
  ['a calendar', EVERY_MINUTE],
] as const)('with %s', (_, timing) => {
  async function busy(overlap: 'QUEUE' | 'SKIP' | 'REPLACE') {
    const { db } = database;
    const { id } = await scheduled(db, ann, timing, { runPolicy: { overlap } });
    if ('cron' in timing) {
      await align(db, id);
      await letPass(db, id, 60);
    }
    const job = await runningFor(id, 180);
    return { db, id, job, dispatched: await schedule(db) };
  }

  test('QUEUE: the newest slot waits for the job, and the others are dropped', async () => {
    const { db, id, job, dispatched } = await busy('QUEUE');
    expect(dispatched).toEqual([]);
    expect(await skipsOf(id)).toBe(0);
    await end(db, job, { status: 'COMPLETED' });
    expect(await schedule(db)).toHaveLength(1);
    expect(await skipsOf(id)).toBe(2);
    expect(await notified()).toEqual([]);
  });

  test('SKIP: slots during a job are dropped, and the first one is notified', async () => {
    const { db, id, job, dispatched } = await busy('SKIP');
    expect(dispatched).toEqual([]);
    expect(await skipsOf(id)).toBe(3);
    expect(await nextOf(id)).toBeGreaterThan(Date.now());
    await letPass(db, id, 60);
    await renewLeases(db, [job]);
    expect(await schedule(db)).toEqual([]);
    expect(await skipsOf(id)).toBe(4);
    expect(await notified()).toEqual([
      {
        kind: 'RUN_SKIPPED',
        detail: expect.stringMatching(/^The run of 2.*Z was skipped because the job before it had not ended\.$/),
      },
    ]);
    await end(db, job, { status: 'COMPLETED' });
    expect(await schedule(db)).toEqual([]);
    await letPass(db, id, 60);
    expect(await schedule(db)).toHaveLength(1);
  });

  test('REPLACE: the job is canceled, and its end lets the slot run; nothing is counted', async () => {
    const { db, id, job, dispatched } = await busy('REPLACE');
    expect(dispatched).toEqual([]);
    const [running] = await jobsOf(db, id);
    expect(running).toMatchObject({ status: 'RUNNING', cancelRequestedAt: expect.any(Date) });
    expect(await schedule(db)).toEqual([]);
    await end(db, job, { status: 'CANCELED' });
    expect(await schedule(db)).toHaveLength(1);
    expect(await statusesOf(id)).toEqual(['CANCELED', 'QUEUED']);
    expect((await jobsOf(db, id))[0]?.failureMessage).toBe(
      'It was canceled because the next slot was due, and replaces it.',
    );
    const [workflow] = await db.select().from(workflows).where(eq(workflows.id, id));
    expect(workflow).toMatchObject({ consecutiveJobFailuresCount: 0, terminatedAt: null });
    expect(await notified()).toEqual([]);
  });

  test('REPLACE: a job that has not begun is canceled at once', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, timing, { runPolicy: { overlap: 'REPLACE' } });
    if ('cron' in timing) {
      await align(db, id);
      await letPass(db, id, 60);
    }
    expect(await schedule(db)).toHaveLength(1);
    await letPass(db, id, 60);
    expect(await schedule(db)).toHaveLength(1);
    expect(await statusesOf(id)).toEqual(['CANCELED', 'QUEUED']);
  });

  test('missed runs: SKIP drops a slot that is more than a minute late, and runs one that is not', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, 'cron' in timing ? HOURLY : { everyMinutes: 60 }, {
      runPolicy: { missedRuns: 'SKIP' },
    });
    await refillCalendars(db, { limit: 1 });
    if (!('cron' in timing)) await run(db, { status: 'COMPLETED' });
    await dueSince(id, 90);
    const next = (await nextOf(id)) ?? 0;
    expect(await schedule(db)).toEqual([]);
    expect(await skipsOf(id)).toBe(1);
    expect(await nextOf(id)).toBe(next + 3_600_000);
    expect(await notified()).toEqual([
      { kind: 'RUN_SKIPPED', detail: expect.stringMatching(/ was skipped because it could not start in time\.$/) },
    ]);
    await dueSince(id, 30);
    expect(await schedule(db)).toHaveLength(1);
    expect(await skipsOf(id)).toBe(1);
  });

  test.each(['SKIP', 'REPLACE'] as const)(
    '%s: a request that goes before a due slot runs, and the slot after it',
    async (overlap) => {
      const { db } = database;
      const { id } = await scheduled(db, ann, 'cron' in timing ? HOURLY : { everyMinutes: 60 }, {
        runPolicy: { overlap },
      });
      await refillCalendars(db, { limit: 1 });
      if ('cron' in timing) await dueSince(id, 10);
      const job = await runningFor(id, 0);
      for (let n = 0; n < 2; n++) await runWorkflow(db, { userId: ann, id });
      if (overlap === 'REPLACE') {
        await dueSince(id, 10);
        await renewLeases(db, [job]);
        expect(await schedule(db)).toEqual([]);
        await end(db, job, { status: 'CANCELED' });
      } else {
        await end(db, job, { status: 'COMPLETED' });
        await dueSince(id, 10);
      }
      for (let n = 0; n < 3; n++) {
        const next = await runningFor(id, 40); // the schedule is looked at again meanwhile
        expect(await schedule(db)).toEqual([]);
        await end(db, next, { status: 'COMPLETED' });
      }
      const requested = (await jobsOf(db, id)).filter(({ trigger }) => trigger === 'MANUAL');
      const ran = { status: 'COMPLETED', cancelRequestedAt: null };
      expect(requested).toMatchObject([ran, ran]);
      expect(await skipsOf(id)).toBe(0);
    },
  );

  test('REPLACE: a job goes on when the slot is too late to run', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, timing, { runPolicy: { overlap: 'REPLACE', startWithinSeconds: 20 } });
    if ('cron' in timing) {
      await align(db, id);
      await letPass(db, id, 31);
    }
    await runningFor(id, 90);
    expect(await schedule(db)).toEqual([]);
    expect(await jobsOf(db, id)).toMatchObject([{ status: 'RUNNING', cancelRequestedAt: null }]);
    expect(await skipsOf(id)).toBe(1);
  });

  test.each([{ missedRuns: 'SKIP' }, { startWithinSeconds: 20 }] as const)(
    'REPLACE: the slot runs however long the job takes to stop, with %o',
    async (late) => {
      const { db } = database;
      const { id } = await scheduled(db, ann, 'cron' in timing ? HOURLY : { everyMinutes: 60 }, {
        runPolicy: { overlap: 'REPLACE', ...late },
      });
      await refillCalendars(db, { limit: 1 });
      if ('cron' in timing) await dueSince(id, 10);
      const job = await runningFor(id, 0);
      await runWorkflow(db, { userId: ann, id });
      await dueSince(id, 10);
      await renewLeases(db, [job]);
      expect(await schedule(db)).toEqual([]);
      await letPass(db, id, 90);
      await renewLeases(db, [job]);
      expect(await schedule(db)).toEqual([]);
      await end(db, job, { status: 'CANCELED' });
      await end(db, await runningFor(id, 90), { status: 'COMPLETED' }); // the request goes first
      const [slot] = await claim(db, await schedule(db));
      if (slot === undefined) throw new Error('The slot has no job.');
      expect(await skipsOf(id)).toBe(0);
      expect((await jobsOf(db, id)).map(({ status, trigger }) => `${trigger} ${status}`)).toEqual([
        'AUTOMATIC CANCELED',
        'MANUAL COMPLETED',
        'AUTOMATIC RUNNING',
      ]);
      // The next one is judged by its own time.
      await end(db, slot, { status: 'COMPLETED' });
      await dueSince(id, 90);
      expect(await schedule(db)).toEqual([]);
      expect(await skipsOf(id)).toBe(1);
    },
  );

  test('SKIP: a slot during a job that is being stopped is dropped too', async () => {
    const { db, id, job } = await busy('SKIP');
    await cancelJob(db, { userId: ann, id: job.id });
    await letPass(db, id, 60);
    await renewLeases(db, [job]);
    expect(await schedule(db)).toEqual([]);
    expect(await skipsOf(id)).toBe(4);
    await end(db, job, { status: 'CANCELED' });
    expect(await schedule(db)).toEqual([]);
  });

  test('startWithinSeconds drops a slot that waited longer for a job', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, 'cron' in timing ? HOURLY : { everyMinutes: 60 }, {
      runPolicy: { startWithinSeconds: 300 },
    });
    await refillCalendars(db, { limit: 1 });
    if ('cron' in timing) await dueSince(id, 10);
    const job = await runningFor(id, 0);
    await dueSince(id, 200);
    await renewLeases(db, [job]);
    expect(await schedule(db)).toEqual([]);
    expect(await skipsOf(id)).toBe(0);
    await letPass(db, id, 120);
    await renewLeases(db, [job]);
    await end(db, job, { status: 'COMPLETED' });
    expect(await schedule(db)).toEqual([]);
    expect(await skipsOf(id)).toBe(1);
  });
});

const HOURLY: typeof EVERY_MINUTE = { cron: { expressions: ['0 * * * *'], timeZone: 'UTC' } };

/** Lets time pass until the next slot has been due for so long. */
async function dueSince(id: string, seconds: number): Promise<void> {
  const next = (await nextOf(id)) ?? 0;
  await letPass(database.db, id, (next - Date.now()) / 1_000 + seconds);
}

test('a spread delays each run by the same part, and the slot keeps its time', async () => {
  const { db } = database;
  const id = '019a0000-0000-7000-8000-000000000001';
  await scheduled(db, ann, EVERY_TWO, { id, runPolicy: { spreadSeconds: 3_600 } });
  const { delaySeconds = 0 } = (await scheduleOf(db, id)) ?? {};
  expect(delaySeconds).toBe(1_709); // the part of this id
  const slot = (await nextOf(id)) ?? 0;
  expect(await schedule(db)).toEqual([]);
  await letPass(db, id, delaySeconds - 5);
  expect(await schedule(db)).toEqual([]);
  await letPass(db, id, 6);
  expect(await schedule(db)).toHaveLength(1);
  const [job] = await jobsOf(db, id);
  expect(job?.scheduledAt.getTime()).toBe(slot - (delaySeconds + 1) * 1_000);
  await updateWorkflow(db, { userId: ann, id, runPolicy: toRunPolicy({}) });
  expect(await scheduleOf(db, id)).toMatchObject({
    delaySeconds: 0,
    nextRunAt: new Date(slot + 120_000 - (delaySeconds + 1) * 1_000),
  });
});

describe('retries', () => {
  const RETRY = { maxRetries: 2, delaySeconds: 100, factor: 3, maxDelaySeconds: 200 };
  const failed = { status: 'FAILED', failureReason: 'CHECK_FAILED', failureMessage: 'It is away.' } as const;

  async function failing(runPolicy: Parameters<typeof toRunPolicy>[0] = { retry: RETRY }) {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 600 }, { runPolicy, failuresAllowed: 1 });
    const [job] = await claim(db, await schedule(db));
    if (job === undefined) throw new Error('There is no job.');
    return { db, id, job };
  }
  const fail = (job: ClaimedJob, outcome: Partial<typeof failed> | { failureReason: 'SYSTEM' } = {}) =>
    endJobs(database.db, [{ ...job, logLineCount: 0, ...failed, ...outcome }]);
  const again = async (id: string) => {
    const [job] = await claim(database.db, await schedule(database.db));
    if (job === undefined) throw new Error(`The job of ${id} is not tried again.`);
    return job;
  };

  test('a failed job is tried again after a growing delay, and its last failure alone counts and notifies', async () => {
    const { db, id, job } = await failing();
    const { ended, effects } = await fail(job);
    expect([...ended]).toEqual([job.id]);
    expect(effects.failed).toMatchObject([{ jobId: job.id, isRetried: true, reason: 'CHECK_FAILED' }]);
    for (const [retries, seconds] of [
      [1, 100],
      [2, 200], // the longest delay, and not 300
    ] as const) {
      const [row] = await jobsOf(db, id);
      expect(row).toMatchObject({ status: 'PENDING', retries, completedAt: null, failureMessage: 'It is away.' });
      const delay = ((row?.retryAt?.getTime() ?? 0) - Date.now()) / 1_000;
      expect(delay).toBeGreaterThan(seconds * 0.9 - 5);
      expect(delay).toBeLessThan(seconds * 1.1);
      if (retries === 2) expect(delay).toBeLessThanOrEqual(200);
      expect(await schedule(db)).toEqual([]);
      expect(await notified()).toEqual([]);
      await letPass(db, id, delay + 1);
      const next = await again(id);
      expect(next).toMatchObject({
        id: job.id,
        attempt: retries + 1,
        failureBefore: 'It is away.',
        isLastAttempt: false,
      });
      await fail(next);
    }
    expect(await jobsOf(db, id)).toMatchObject([
      { status: 'FAILED', attempt: 3, failureMessage: 'It is away. It was retried 2 times.' },
    ]);
    expect(await notified()).toMatchObject([
      { kind: 'JOB_FAILED', detail: 'It is away. It was retried 2 times.' },
      { kind: 'WORKFLOW_TERMINATED' },
    ]);
  });

  test('a retry that completes leaves no failure behind', async () => {
    const { db, id, job } = await failing();
    await fail(job);
    await letPass(db, id, 200);
    await end(db, await again(id), { status: 'COMPLETED' });
    expect(await jobsOf(db, id)).toMatchObject([{ status: 'COMPLETED', retries: 1, failureMessage: null }]);
    const [workflow] = await db.select().from(workflows).where(eq(workflows.id, id));
    expect(workflow?.consecutiveJobFailuresCount).toBe(0);
  });

  test('only the reasons of the policy are retried', async () => {
    const { db, id, job } = await failing({ retry: { ...RETRY, on: ['TIMEOUT'] } });
    await fail(job);
    expect(await statusesOf(id)).toEqual(['FAILED']);
    const other = await failing();
    await fail(other.job, { failureReason: 'SYSTEM' });
    expect(await statusesOf(other.id)).toEqual(['FAILED']);
    expect(await schedule(db)).toEqual([]);
  });

  test('a lost worker takes no retry, and a retry takes none of the attempts that lost workers have', async () => {
    const { db, id, job } = await failing();
    await fail(job);
    await letPass(db, id, 200);
    for (let lost = 0; lost < 2; lost++) {
      await again(id);
      await letPass(db, id, 40);
      await schedule(db); // finds the lost worker
      await letPass(db, id, 60);
    }
    const last = await again(id);
    expect(last).toMatchObject({ attempt: 4, isLastAttempt: true });
    await fail(last);
    expect(await jobsOf(db, id)).toMatchObject([{ status: 'PENDING', retries: 2 }]);
  });

  test('a cancellation ends the retries', async () => {
    const { db, id, job } = await failing();
    await db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE id = ${job.id}`);
    await fail(job);
    expect(await statusesOf(id)).toEqual(['FAILED']);
  });

  test('a job that is canceled while it waits for its retry has no message of a failure', async () => {
    const { db, id, job } = await failing();
    await fail(job);
    await cancelJob(db, { userId: ann, id });
    expect((await cancelJob(db, { userId: ann, id: job.id })).outcome).toBe('CANCELED');
    expect(await jobsOf(db, id)).toMatchObject([{ status: 'CANCELED', failureMessage: null, retries: 1 }]);
    const other = await failing();
    await fail(other.job);
    await terminateWorkflow(db, { userId: ann, id: other.id });
    await schedule(db);
    expect(await jobsOf(db, other.id)).toMatchObject([{ status: 'CANCELED', failureMessage: null }]);
  });

  test('the message of a failure is that of the attempt before, and never why a job was canceled', async () => {
    const { db, id, job } = await failing({ retry: RETRY, overlap: 'REPLACE' });
    await fail(job);
    await letPass(db, id, 200);
    const second = await again(id);
    await letPass(db, id, 40);
    await schedule(db); // finds the lost worker
    expect(await jobsOf(db, id)).toMatchObject([{ status: 'PENDING', failureMessage: 'It is away.', startedAt: null }]);
    await letPass(db, id, 60);
    const [third] = await claim(db, await schedule(db), 'engine');
    expect(third).toMatchObject({ attempt: 3, failureBefore: 'It is away.' });
    const adopt = async () => {
      await db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 second'`);
      return takeOverJobs(db, [{ id: second.id, attempt: 3 }], { owner: 'other', engineId: 'engine' });
    };
    expect(await adopt()).toMatchObject([{ failureBefore: 'It is away.', cancelRequested: false }]);
    await letPass(db, id, 36_000);
    await db.execute(sql`UPDATE jobs SET lease_expires_at = now() + interval '30 seconds'`);
    expect(await schedule(db)).toEqual([]); // cancels the job for the slot
    await cancelJob(db, { userId: ann, id: job.id }); // says nothing new
    const [adopted] = await adopt();
    expect(adopted).toMatchObject({ failureBefore: undefined, cancelRequested: true });
    // Its worker is lost while it stops the container.
    await letPass(db, id, 400);
    expect(await schedule(db)).toHaveLength(1);
    expect((await jobsOf(db, id))[0]).toMatchObject({
      status: 'CANCELED',
      failureMessage: 'It was canceled because the next slot was due, and replaces it.',
    });
  });

  test.each(['retried', 'returned', 'lost'] as const)(
    'REPLACE: a requested job that is %s goes before a slot that was due when it began',
    async (how) => {
      const { db } = database;
      const { id } = await scheduled(
        db,
        ann,
        { everyMinutes: 600 },
        { runPolicy: { overlap: 'REPLACE', retry: RETRY } },
      );
      const first = await runningFor(id, 0);
      await runWorkflow(db, { userId: ann, id });
      await end(db, first, { status: 'COMPLETED' });
      await dueSince(id, 10);
      const job = await runningFor(id, 0);
      if (how === 'retried') await fail(job);
      if (how === 'returned') await returnJobs(db, [job]);
      for (let n = 0; n < 4; n++) {
        await letPass(db, id, 60);
        await schedule(db);
      }
      expect((await jobsOf(db, id)).map(({ trigger, status }) => `${trigger} ${status}`)).toEqual([
        'AUTOMATIC COMPLETED',
        'MANUAL QUEUED',
      ]);
    },
  );

  test('a slot that is due while a job waits for its retry follows the overlap policy', async () => {
    const { db, id, job } = await failing({
      retry: { ...RETRY, delaySeconds: 80_000, maxDelaySeconds: 86_400 },
      overlap: 'REPLACE',
    });
    await fail(job);
    await letPass(db, id, 36_000);
    expect(await schedule(db)).toHaveLength(1);
    expect(await statusesOf(id)).toEqual(['CANCELED', 'QUEUED']);
  });
});

describe('too many failures', () => {
  const failOnce = (db: typeof database.db) => run(db, { status: 'FAILED', failureReason: 'CHECK_FAILED' });

  test('PAUSE pauses the workflow, says why, and lets it run on request', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 2, onTooManyFailures: 'PAUSE' });
    await failOnce(db);
    await letPass(db, id, 60);
    await failOnce(db);
    const [workflow] = await db.select().from(workflows).where(eq(workflows.id, id));
    expect(workflow).toMatchObject({ pausedAt: expect.any(Date), pauseReason: 'FAILURES', terminatedAt: null });
    expect((await notified()).filter(({ kind }) => kind !== 'JOB_FAILED')).toEqual([
      { kind: 'WORKFLOW_PAUSED', detail: '2' },
    ]);
    await letPass(db, id, 600);
    expect(await schedule(db)).toEqual([]);
    expect((await runWorkflow(db, { userId: ann, id })).outcome).toBe('REQUESTED');
    await failOnce(db);
    expect((await notified()).filter(({ kind }) => kind === 'WORKFLOW_PAUSED')).toHaveLength(1);
  });

  test('NOTHING goes on, with a notification for each failure', async () => {
    const { db } = database;
    const { id } = await scheduled(db, ann, { everyMinutes: 1 }, { failuresAllowed: 1, onTooManyFailures: 'NOTHING' });
    for (let n = 0; n < 3; n++) {
      await failOnce(db);
      await letPass(db, id, 60);
    }
    expect((await notified()).map(({ kind }) => kind)).toEqual(['JOB_FAILED', 'JOB_FAILED', 'JOB_FAILED']);
    await run(db, { status: 'COMPLETED' });
    expect((await notified()).at(-1)).toEqual({ kind: 'WORKFLOW_RECOVERED', detail: '3' });
  });
});
