import { sql } from 'drizzle-orm';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { postponeBuild } from '../../db/builds/postpone.ts';
import type { Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { enterTurns } from '../../db/jobs/turns.ts';
import { pauseWorkflow } from '../../db/workflows/pause.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { type RunPolicyInput, type TooManyFailuresAction, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import type { Schedule } from '../../domain/schedule/schedule.ts';
import { claim, EVERY_MINUTE, schedule } from '../scheduling/support.ts';
import { letAllPass } from '../support/time.ts';

/**
 * The objects of an order: one workflow, its newest job and build, and a lease of the job or build
 * that a worker has or had.
 */
export interface Subject {
  userId: string;
  workflowId: string;
  buildId: string;
  jobId: string;
  leaseToken: string;
  attempt: number;
}

export const ENGINE = 'engine 1';
export const OWNER = 'worker 1';
const IMAGE_ID = 'sha256:1';
const NOBODYS = '00000000-0000-7000-8000-000000000000';

type Build = (db: Db, userId: string) => Promise<Subject>;

/** The states in which orders begin. Verbs lead to each of them; only time is moved directly. */
export const STATES = {
  'BUILD QUEUED': (db, userId) => createContainer(db, userId),
  'BUILD STARTED': startedBuild,
  /** Waits for an engine, and is due in an hour. */
  'BUILD WAITING': async (db, userId) => {
    const subject = await startedBuild(db, userId);
    const outage = { waitSeconds: 3_600, waitsFor: 'It is away.', awaitsEngine: true, counted: false };
    await postponeBuild(db, heldBuild(subject), outage);
    return subject;
  },
  'BUILD LOST': (db, userId) => startedBuild(db, userId).then(lost(db)),
  DUE: (db, userId) => built(db, userId),
  REQUESTED: async (db, userId) => {
    const subject = await built(db, userId);
    await db.execute(
      sql`UPDATE schedules SET next_run_at = now() + interval '1 hour', wake_at = now() + interval '1 hour'`,
    );
    return { ...subject, jobId: await request(db, subject) };
  },
  /** Queued for a second attempt. The first one started nothing, and its lease is gone. */
  QUEUED: async (db, userId) => {
    const subject = await running(db, userId);
    await returnJobs(db, [held(subject)]);
    await enterTurns(db, 'CONTAINER', await schedule(db));
    return subject;
  },
  /** Waits for its second attempt. */
  PENDING: async (db, userId) => {
    const subject = await running(db, userId);
    await returnJobs(db, [held(subject)], { counted: true });
    await schedule(db);
    return subject;
  },
  RUNNING: (db, userId) => running(db, userId),
  /** Runs while a request waits. */
  'RUNNING, WAITED FOR': async (db, userId) => {
    const subject = await running(db, userId);
    await request(db, subject);
    await schedule(db);
    return subject;
  },
  /** Runs after a failed job. */
  'RUNNING, FAILED BEFORE': async (db, userId) => {
    const subject = await running(db, userId);
    await endJobs(db, [{ ...held(subject), ...FAILED, workflowId: subject.workflowId, logLineCount: 0 }]);
    return claimed(db, { ...subject, jobId: await request(db, subject) });
  },
  /** Runs after a success, so that its own success changes nothing but the job. */
  'RUNNING, SUCCEEDED BEFORE': async (db, userId) => {
    const subject = await running(db, userId);
    const { workflowId } = subject;
    await endJobs(db, [{ ...held(subject), status: 'COMPLETED', workflowId, logLineCount: 0 }]);
    await letAllPass(db, 3_601);
    return claimed(db, subject);
  },
  /** Runs when one more failure terminates the workflow. */
  'RUNNING, LAST CHANCE': (db, userId) => running(db, userId, { failuresAllowed: 1 }),
  /** Runs when one more failure pauses the workflow. */
  'RUNNING, PAUSES AFTER FAILURE': (db, userId) => running(db, userId, { failuresAllowed: 1, action: 'PAUSE' }),
  /** Runs, and its failure is retried. */
  'RUNNING, WITH RETRIES': (db, userId) => running(db, userId, RETRIED),
  /** Waits to be tried again, in half a minute. */
  RETRYING: (db, userId) => retrying(db, userId),
  'RETRY DUE': async (db, userId) => {
    const subject = await retrying(db, userId);
    await letAllPass(db, 40);
    return subject;
  },
  /** Runs while a slot is due that the policy drops. */
  'RUNNING, SKIP DUE': (db, userId) => running(db, userId, { overlap: 'SKIP' }).then(runningOver(db)),
  /** Runs while a slot is due that replaces it. */
  'RUNNING, REPLACE DUE': (db, userId) => running(db, userId, { overlap: 'REPLACE' }).then(runningOver(db)),
  'QUEUED, REPLACE DUE': async (db, userId) => {
    const subject = await running(db, userId, { overlap: 'REPLACE' });
    await returnJobs(db, [held(subject)]);
    await enterTurns(db, 'CONTAINER', await schedule(db));
    await letAllPass(db, 3_601);
    return subject;
  },
  /** Is being stopped for a slot. */
  'STOPPING, REPLACED': async (db, userId) => {
    const subject = await running(db, userId, { overlap: 'REPLACE' }).then(runningOver(db));
    await schedule(db);
    return subject;
  },
  /** Paused without an end. A slot has come since. */
  PAUSED: (db, userId) => built(db, userId).then(paused(db)),
  'RUNNING, PAUSED': (db, userId) => running(db, userId).then(paused(db)).then(runningOver(db)),
  /** The pause has ended by itself, and a slot has come after it. Nobody has looked since. */
  'PAUSE OVER': async (db, userId) => {
    const subject = await built(db, userId).then(paused(db, { seconds: 60 }));
    await letAllPass(db, 3_661);
    return subject;
  },
  /** The slot is too late to run. */
  'SLOT LATE': async (db, userId) => {
    const subject = await built(db, userId, { startWithinSeconds: 60 });
    await letAllPass(db, 90);
    return subject;
  },
  /** Slots are due, and the calendar has come to its end. */
  'CALENDAR EXHAUSTED': async (db, userId) => {
    const subject = await built(db, userId, { timing: EVERY_MINUTE });
    await letAllPass(db, 3_601);
    return subject;
  },
  STOPPING: async (db, userId) => {
    const subject = await running(db, userId);
    await cancelJob(db, { userId, id: subject.jobId });
    return subject;
  },
  /** RUNNING with a lease that expired long ago. */
  LOST: (db, userId) => running(db, userId).then(lost(db)),
  'LOST, LAST ATTEMPT': async (db, userId) => {
    const subject = await running(db, userId).then(lost(db));
    await db.execute(sql`UPDATE jobs SET attempt = ${ATTEMPTS_MAX} WHERE id = ${subject.jobId}`);
    return { ...subject, attempt: ATTEMPTS_MAX };
  },
} satisfies Record<string, Build>;
export type State = keyof typeof STATES;

export function held({ jobId, leaseToken }: Subject) {
  return { id: jobId, leaseToken };
}

export function heldBuild({ buildId, leaseToken }: Subject) {
  return { id: buildId, leaseToken };
}

interface Options extends Pick<RunPolicyInput, 'overlap' | 'startWithinSeconds' | 'retry'> {
  failuresAllowed?: number;
  action?: TooManyFailuresAction;
  timing?: Schedule;
}

const RETRIED: Options = { retry: { maxRetries: 1 } };

async function createContainer(db: Db, userId: string, options: Options = {}): Promise<Subject> {
  const { failuresAllowed = 3, action = 'TERMINATE', timing = { everyMinutes: 60 }, ...policy } = options;
  const { workflow, buildId = '' } = await createWorkflow(db, {
    userId,
    name: 'test',
    payload: { kind: 'CONTAINER', image: 'image:1' },
    schedule: timing,
    runPolicy: Object.keys(policy).length === 0 ? null : toRunPolicy(policy),
    maxConsecutiveJobFailuresAllowed: failuresAllowed,
    onTooManyFailures: action,
  });
  return { userId, workflowId: workflow.id, buildId, jobId: NOBODYS, leaseToken: NOBODYS, attempt: 1 };
}

async function startedBuild(db: Db, userId: string, options: Options = {}): Promise<Subject> {
  const subject = await createContainer(db, userId, options);
  const [build] = (await claimBuilds(db, [subject.buildId], { owner: OWNER })).claimed;
  if (build === undefined) throw new Error('The build cannot be claimed.');
  return { ...subject, leaseToken: build.leaseToken };
}

async function built(db: Db, userId: string, options: Options = {}): Promise<Subject> {
  const subject = await startedBuild(db, userId, options);
  const { workflowId } = subject;
  await endBuild(db, { ...heldBuild(subject), workflowId, status: 'COMPLETED', imageId: IMAGE_ID, logLineCount: 0 });
  return subject;
}

async function running(db: Db, userId: string, options: Options = {}): Promise<Subject> {
  return claimed(db, await built(db, userId, options));
}

async function claimed(db: Db, subject: Subject): Promise<Subject> {
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('No job can be claimed.');
  await db.execute(sql`UPDATE jobs SET engine_id = ${ENGINE} WHERE id = ${job.id}`);
  return { ...subject, jobId: job.id, leaseToken: job.leaseToken, attempt: job.attempt };
}

const FAILED = { status: 'FAILED' as const, failureReason: 'EXIT_CODE' as const };

async function request(db: Db, { userId, workflowId }: Subject): Promise<string> {
  const requested = await runWorkflow(db, { userId, id: workflowId });
  if (requested.outcome !== 'REQUESTED') throw new Error(`A request was answered ${requested.outcome}.`);
  return requested.job.id;
}

async function retrying(db: Db, userId: string): Promise<Subject> {
  const subject = await running(db, userId, RETRIED);
  await endJobs(db, [{ ...held(subject), ...FAILED, workflowId: subject.workflowId, logLineCount: 0 }]);
  return subject;
}

/** The job runs on, under its lease, until the next slot is due. */
function runningOver(db: Db) {
  return async (subject: Subject): Promise<Subject> => {
    await letAllPass(db, 3_601);
    await renewLeases(db, [held(subject)]);
    return subject;
  };
}

function paused(db: Db, { seconds }: { seconds?: number } = {}) {
  return async (subject: Subject): Promise<Subject> => {
    const until = seconds === undefined ? null : new Date(Date.now() + seconds * 1_000);
    await pauseWorkflow(db, { userId: subject.userId, id: subject.workflowId, until });
    await schedule(db);
    return subject;
  };
}

function lost(db: Db) {
  return async (subject: Subject): Promise<Subject> => {
    await letAllPass(db, 7_200);
    return subject;
  };
}
