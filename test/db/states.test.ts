import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { releaseBuilds } from '../../db/builds/leases.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { builds, jobs, schedules } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { newId } from '../../domain/ids.ts';
import {
  BUILD_STATUSES,
  BUILD_TRANSITIONS,
  type BuildStatus,
  isEnded,
  JOB_STATUSES,
  JOB_TRANSITIONS,
  type JobStatus,
} from '../../domain/states.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

interface Subject {
  id: string;
  workflowId: string;
  leaseToken: string;
}

async function reconcileOne({ id, workflowId }: Subject): Promise<void> {
  await database.db.execute(sql`UPDATE schedules SET wake_at = now() WHERE last_job_id = ${id}`);
  await reconcileSchedules(database.db, [workflowId], { watchedSeconds: () => Number.POSITIVE_INFINITY });
}

/** All statements that bring a job into a status. */
const jobVerbs: [to: JobStatus, by: string, verb: (subject: Subject) => Promise<unknown>][] = [
  ['PENDING', 'a return', (subject) => returnJobs(database.db, [subject])],
  [
    'PENDING',
    'the loss of its worker',
    async (subject) => {
      await database.db.execute(
        sql`UPDATE jobs SET lease_expires_at = now() - interval '1 hour' WHERE id = ${subject.id} AND lease_token IS NOT NULL`,
      );
      await reconcileOne(subject);
    },
  ],
  [
    'QUEUED',
    'handing it out',
    async (subject) => {
      await database.db.execute(sql`UPDATE jobs SET updated_at = now() - interval '1 hour' WHERE id = ${subject.id}`);
      await reconcileOne(subject);
    },
  ],
  ['RUNNING', 'a claim', ({ id }) => claimJobs(database.db, [id], { owner: 'test' })],
  ['COMPLETED', 'its end', (subject) => endJobs(database.db, [{ ...subject, status: 'COMPLETED', logLineCount: 0 }])],
  [
    'FAILED',
    'its end',
    (subject) => endJobs(database.db, [{ ...subject, status: 'FAILED', failureReason: 'EXIT_CODE', logLineCount: 0 }]),
  ],
  [
    'CANCELED',
    'a cancellation',
    async (subject) => {
      await cancelJob(database.db, { userId: ann, id: subject.id });
      await endJobs(database.db, [{ ...subject, status: 'CANCELED', logLineCount: 0 }]);
    },
  ],
];

async function jobIn(status: JobStatus): Promise<Subject> {
  const { workflow } = await createWorkflow(database.db, {
    userId: ann,
    name: 'test',
    payload: { kind: 'HEARTBEAT' },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1000,
  });
  const subject = { id: newId(), workflowId: workflow.id, leaseToken: newId() };
  const running = status === 'RUNNING';
  await database.db.insert(jobs).values({
    ...subject,
    userId: ann,
    kind: 'HEARTBEAT',
    trigger: 'MANUAL',
    status,
    generation: 1,
    attempt: 1,
    scheduledAt: sql`now()`,
    startedAt: sql`now()`,
    leaseToken: running ? subject.leaseToken : null,
    leaseExpiresAt: running ? sql`now() + interval '30 seconds'` : null,
    completedAt: isEnded(status) ? sql`now()` : null,
    failureReason: status === 'FAILED' ? 'EXIT_CODE' : null,
  });
  await database.db
    .update(schedules)
    .set({ lastJobId: subject.id, nextRunAt: sql`now() + interval '1 hour'` })
    .where(eq(schedules.workflowId, workflow.id));
  return subject;
}

describe.each(JOB_STATUSES)('a job that is %s', (from) => {
  test.each(jobVerbs.filter(([to]) => to !== from))(
    'becomes %s by %s only where the table says so',
    async (to, _, verb) => {
      const subject = await jobIn(from);
      await verb(subject);
      const [after] = await database.db.select().from(jobs).where(eq(jobs.id, subject.id));
      expect(after?.status === to).toBe(JOB_TRANSITIONS[from][to]);
      if (isEnded(from)) expect(after?.status).toBe(from);
    },
  );
});

const buildVerbs: Record<BuildStatus, (subject: Subject) => Promise<unknown>> = {
  QUEUED: (subject) => releaseBuilds(database.db, [subject]),
  STARTED: ({ id }) => claimBuilds(database.db, [id], { owner: 'test' }),
  COMPLETED: (subject) =>
    endBuild(database.db, { ...subject, status: 'COMPLETED', imageId: 'sha256:1', logLineCount: 0 }),
  FAILED: (subject) =>
    endBuild(database.db, { ...subject, status: 'FAILED', error: 'No such image.', logLineCount: 0 }),
  CANCELED: ({ workflowId }) => terminateWorkflow(database.db, { userId: ann, id: workflowId }),
};

async function buildIn(status: BuildStatus): Promise<Subject> {
  const { workflow, buildId } = await createWorkflow(database.db, {
    userId: ann,
    name: 'test',
    payload: { kind: 'CONTAINER', image: 'alpine:3' },
    schedule: { everyMinutes: 60 },
    maxConsecutiveJobFailuresAllowed: 1,
  });
  const subject = { id: buildId ?? '', workflowId: workflow.id, leaseToken: newId() };
  const ended = status !== 'QUEUED' && status !== 'STARTED';
  await database.db
    .update(builds)
    .set({
      status,
      leaseToken: status === 'STARTED' ? subject.leaseToken : null,
      completedAt: ended ? sql`now()` : null,
      error: status === 'FAILED' ? 'No such image.' : null,
    })
    .where(eq(builds.id, subject.id));
  return subject;
}

describe.each(BUILD_STATUSES)('a build that is %s', (from) => {
  test.each(BUILD_STATUSES.filter((to) => to !== from))('becomes %s only where the table says so', async (to) => {
    const subject = await buildIn(from);
    await buildVerbs[to](subject);
    const [after] = await database.db.select().from(builds).where(eq(builds.id, subject.id));
    expect(after?.status === to).toBe(BUILD_TRANSITIONS[from][to]);
  });
});
