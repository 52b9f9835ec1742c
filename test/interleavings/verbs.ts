import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { releaseBuilds, renewBuildLeases } from '../../db/builds/leases.ts';
import { endWaitsForEngine, postponeBuild } from '../../db/builds/postpone.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { extendCalendars } from '../../db/calendars.ts';
import type { Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { claimJobs, takeOverJobs } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { releaseJobs, renewLeases, returnJobs } from '../../db/jobs/leases.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { takeTurn } from '../../db/jobs/turns.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { pauseWorkflow, resumeWorkflow } from '../../db/workflows/pause.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { noEffects } from '../../domain/effects.ts';
import { DEFAULT_RUN_POLICY } from '../../domain/schedule/run-policy.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import { ENGINE, held, heldBuild, type State, type Subject } from './states.ts';

/** The answers that the callers of verbs received. The rows must agree with them. */
export interface Answers {
  /** The jobs that ended, once for each actor that ended it. */
  ended: { id: string; status: string }[];
  canceled: string[];
  requested: string[];
}

export type Act = (db: Db, subject: Subject, answers: Answers) => Promise<unknown>;

const JOB: State[] = ['QUEUED', 'RUNNING', 'LOST'];
const HELD: State[] = ['RUNNING', 'STOPPING', 'LOST'];
const RUNNING_BY_POLICY = [
  'RUNNING, WITH RETRIES',
  'RUNNING, SKIP DUE',
  'RUNNING, REPLACE DUE',
  'RUNNING, PAUSED',
] as const;
const BUILDING: State[] = ['BUILD QUEUED', 'BUILD WAITING', 'BUILD STARTED', 'BUILD LOST'];
const HELD_BUILD: State[] = ['BUILD STARTED', 'BUILD LOST'];

/**
 * Everything that writes a job, a schedule or a build, with the states in which it has an effect.
 */
export const VERBS = {
  claim: [['QUEUED', 'QUEUED, REPLACE DUE'], (db, { jobId }) => claimed(db, [jobId], 'worker 2')],
  'take a turn': [
    ['QUEUED'],
    async (db) => {
      await takeTurn(db, 'CONTAINER', [], (tx, ids) => claimJobs(tx, ids, { owner: 'worker 3', engineId: ENGINE }));
    },
  ],
  renew: [[...HELD, 'RUNNING, REPLACE DUE'], (db, subject) => renewLeases(db, [held(subject)])],
  'return uncounted': [
    [...HELD, 'RUNNING, REPLACE DUE', 'STOPPING, REPLACED'],
    (db, subject) => returnJobs(db, [held(subject)]),
  ],
  'return printed': [HELD, (db, subject) => returnJobs(db, [held(subject)], { printed: true })],
  'return counted': [HELD, (db, subject) => returnJobs(db, [held(subject)], { counted: true })],
  release: [HELD, (db, subject) => releaseJobs(db, [held(subject)])],
  adopt: [
    ['LOST', 'LOST, LAST ATTEMPT'],
    (db, { jobId, attempt }) => takeOverJobs(db, [{ id: jobId, attempt }], { owner: 'worker 4', engineId: ENGINE }),
  ],
  complete: [
    [...HELD, 'RUNNING, WAITED FOR', 'RUNNING, FAILED BEFORE', 'RUNNING, SUCCEEDED BEFORE', ...RUNNING_BY_POLICY],
    ending({ status: 'COMPLETED' }),
  ],
  fail: [
    [
      ...HELD,
      'RUNNING, WAITED FOR',
      'RUNNING, LAST CHANCE',
      'RUNNING, SUCCEEDED BEFORE',
      'RUNNING, PAUSES AFTER FAILURE',
      ...RUNNING_BY_POLICY,
    ],
    ending({ status: 'FAILED', failureReason: 'EXIT_CODE', failureMessage: 'It exited with the code 1.' }),
  ],
  'end canceled': [['STOPPING', 'STOPPING, REPLACED'], ending({ status: 'CANCELED' })],
  cancel: [
    [...JOB, 'REQUESTED', 'PENDING', 'RETRYING', 'RUNNING, REPLACE DUE'],
    async (db, { userId, jobId }, { canceled }) => {
      const { outcome } = await cancelJob(db, { userId, id: jobId });
      if (outcome === 'CANCELED') canceled.push(jobId);
    },
  ],
  terminate: [
    [
      ...JOB,
      'DUE',
      'REQUESTED',
      'PENDING',
      ...BUILDING,
      'PAUSED',
      'RETRYING',
      'RUNNING, WITH RETRIES',
      'RUNNING, REPLACE DUE',
    ],
    async (db, { userId, workflowId }, { canceled }) => {
      canceled.push(...canceledJobs((await terminateWorkflow(db, { userId, id: workflowId }))?.effects));
    },
  ],
  delete: [
    [...JOB, 'REQUESTED', ...BUILDING],
    async (db, { userId, workflowId }, { canceled }) => {
      canceled.push(...canceledJobs((await deleteWorkflow(db, { userId, id: workflowId }))?.effects));
    },
  ],
  request: [
    [...JOB, 'DUE', 'REQUESTED', 'PENDING', 'RUNNING, SUCCEEDED BEFORE', 'PAUSED', 'PAUSE OVER', ...RUNNING_BY_POLICY],
    async (db, { userId, workflowId }, { requested }) => {
      const answer = await runWorkflow(db, { userId, id: workflowId });
      if (answer.outcome === 'REQUESTED') requested.push(answer.job.id);
    },
  ],
  dispatch: [
    [
      ...JOB,
      'DUE',
      'REQUESTED',
      'PENDING',
      'RUNNING, WAITED FOR',
      'RUNNING, SUCCEEDED BEFORE',
      'LOST, LAST ATTEMPT',
      'RETRYING',
      'RETRY DUE',
      'PAUSED',
      'PAUSE OVER',
      'SLOT LATE',
      'CALENDAR EXHAUSTED',
      'QUEUED, REPLACE DUE',
      'RUNNING, PAUSES AFTER FAILURE',
      ...RUNNING_BY_POLICY,
    ],
    dispatch,
  ],
  pause: [
    [
      'DUE',
      'REQUESTED',
      'RUNNING',
      'PAUSED',
      'PAUSE OVER',
      'RETRYING',
      'RETRY DUE',
      'SLOT LATE',
      'CALENDAR EXHAUSTED',
      'RUNNING, PAUSES AFTER FAILURE',
      ...RUNNING_BY_POLICY,
    ],
    (db, { userId, workflowId }) => pauseWorkflow(db, { userId, id: workflowId }),
  ],
  resume: [
    ['PAUSED', 'PAUSE OVER', 'RUNNING, PAUSED', 'RUNNING, PAUSES AFTER FAILURE'],
    (db, { userId, workflowId }) => resumeWorkflow(db, { userId, id: workflowId }),
  ],
  'change the policy': [
    [
      'RUNNING, REPLACE DUE',
      'RUNNING, SKIP DUE',
      'RUNNING, WITH RETRIES',
      'RETRYING',
      'SLOT LATE',
      'STOPPING, REPLACED',
    ],
    (db, { userId, workflowId }) => updateWorkflow(db, { userId, id: workflowId, runPolicy: DEFAULT_RUN_POLICY }),
  ],
  update: [
    [...JOB, 'DUE', 'REQUESTED', ...BUILDING],
    (db, { userId, workflowId }) =>
      updateWorkflow(db, { userId, id: workflowId, payload: { kind: 'CONTAINER', image: 'image:2' } }),
  ],
  'change the interval': [
    [
      ...JOB,
      'DUE',
      'REQUESTED',
      'RUNNING, SUCCEEDED BEFORE',
      'PAUSED',
      'SLOT LATE',
      'CALENDAR EXHAUSTED',
      'RUNNING, REPLACE DUE',
    ],
    (db, { userId, workflowId }) => updateWorkflow(db, { userId, id: workflowId, schedule: { everyMinutes: 30 } }),
  ],
  rebuild: [
    [...JOB, 'DUE', 'REQUESTED', ...BUILDING],
    (db, { userId, workflowId }) => rebuildWorkflow(db, { userId, id: workflowId }),
  ],
  'settle markers': [
    [...HELD, ...HELD_BUILD],
    (db, { jobId, buildId }) =>
      settleMarkers(db, [
        { kind: 'attempt-marker', sourceId: jobId, epoch: 2 },
        { kind: 'attempt-marker', sourceId: buildId, epoch: 2 },
      ]),
  ],
  'claim build': [
    ['BUILD QUEUED', 'BUILD WAITING'],
    (db, { buildId }) => claimBuilds(db, [buildId], { owner: 'worker 2' }),
  ],
  'renew build': [HELD_BUILD, (db, subject) => renewBuildLeases(db, [heldBuild(subject)])],
  'release build': [HELD_BUILD, (db, subject) => releaseBuilds(db, [heldBuild(subject)])],
  'postpone build': [
    HELD_BUILD,
    (db, subject) =>
      postponeBuild(db, heldBuild(subject), {
        waitSeconds: 0,
        waitsFor: 'It is away.',
        awaitsEngine: true,
        counted: false,
      }),
  ],
  'end waits': [['BUILD WAITING'], (db) => endWaitsForEngine(db)],
  'complete build': [
    HELD_BUILD,
    (db, subject) => endBuild(db, { ...ended(subject), status: 'COMPLETED', imageId: 'sha256:2' }),
  ],
  'fail build': [
    HELD_BUILD,
    (db, subject) => endBuild(db, { ...ended(subject), status: 'FAILED', error: 'No such image.' }),
  ],
  'sweep builds': [['BUILD QUEUED', 'BUILD WAITING', 'BUILD LOST'], (db) => sweepBuilds(db, ALWAYS_WATCHED)],
} satisfies Record<string, [State[], Act]>;
export type VerbName = keyof typeof VERBS;

/** The jobs that an end of their workflow canceled at once. */
function canceledJobs({ changed, stopping } = noEffects): string[] {
  return changed.flatMap(({ jobs = [] }) => jobs).filter((id) => !stopping.jobIds.includes(id));
}

async function claimed(db: Db, ids: string[], owner: string): Promise<void> {
  await claimJobs(db, ids, { owner, engineId: ENGINE });
}

function ending(outcome: Omit<Outcome, 'id' | 'workflowId' | 'leaseToken' | 'logLineCount'>): Act {
  return async (db, subject, answers) => {
    const { workflowId } = subject;
    const { ended, effects } = await endJobs(db, [{ ...held(subject), workflowId, logLineCount: 0, ...outcome }]);
    const retried = effects.failed.filter(({ isRetried }) => isRetried).map(({ jobId }) => jobId);
    for (const id of ended) if (!retried.includes(id)) answers.ended.push({ id, status: outcome.status });
  };
}

function ended(subject: Subject) {
  return { ...heldBuild(subject), workflowId: subject.workflowId, logLineCount: 0 };
}

/** Scheduling has watched without a break, so an expired lease means a lost worker. */
const ALWAYS_WATCHED = { watchedSeconds: () => Number.POSITIVE_INFINITY };

/** A pass of scheduling that has watched for long. */
async function dispatch(db: Db): Promise<void> {
  const { exhausted } = await schedulingPass({ db, limit: 100, ...ALWAYS_WATCHED });
  await extendCalendars(db, exhausted);
}

/**
 * The states in which all these verbs have an effect. If there is none, the first state of each:
 * one of the verbs then comes too early or too late.
 */
export function statesOf(names: VerbName[]): State[] {
  const [first = [], ...others]: State[][] = names.map((name) => VERBS[name][0]);
  const common = first.filter((state) => others.every((states) => states.includes(state)));
  return common.length > 0 ? common : [...new Set([first, ...others].flatMap((states) => states.slice(0, 1)))];
}
