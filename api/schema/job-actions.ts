import { cancelJob, type JobCanceled, type Requested, runWorkflow } from '../../db/jobs/cancel.ts';
import { newestBuilds } from '../../db/lookup.ts';
import type { BuildRow, JobRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { REQUESTED_JOBS_MAX } from '../../domain/limits.ts';
import { announce } from '../announce.ts';
import { viewerOf } from '../context.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { goneSince, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems, keepOnce } from './idempotency.ts';
import { Job } from './job.ts';
import { invalid, notFound, refused, UserError, type UserErrorShape } from './user-error.ts';
import { userLimits } from './user-limits.ts';

interface JobResult {
  job?: JobRow;
  userErrors: UserErrorShape[];
}

const RunWorkflowInput = builder.inputType('RunWorkflowInput', {
  description: 'A workflow to be run now.',
  fields: (t) => ({
    id: t.id({ required: true, description: 'Its id.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
});

const RunWorkflowPayload = builder.objectRef<JobResult>('RunWorkflowPayload').implement({
  description: 'What `runWorkflow` answers.',
  fields: (t) => ({
    job: t.field({ type: Job, nullable: true, description: 'The new job.', resolve: ({ job }) => job }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('runWorkflow', (t) =>
  t.field({
    type: RunWorkflowPayload,
    description: 'Makes a MANUAL job. It runs at once, or when the active job of the workflow has ended.',
    args: { input: t.arg({ type: RunWorkflowInput, required: true, description: 'Which workflow.' }) },
    resolve: audited(
      'runWorkflow',
      'RUN',
      async ({ input }: Input<typeof RunWorkflowInput>, context, audit): Promise<JobResult> => {
        const { user, tokenName } = viewerOf(context);
        const problems = idempotencyProblems(input);
        if (problems.length > 0) return invalid(problems);
        if (!isId(input.id)) return notFound('workflow');
        const kept = await keepOnce(
          context.services,
          { userId: user.id, mutation: 'runWorkflow', input },
          (db) =>
            audit.change(
              db,
              (tx) =>
                runWorkflow(
                  tx,
                  { userId: user.id, id: input.id.toLowerCase(), requestedBy: { userId: user.id, tokenName } },
                  userLimits(context.services.settings),
                ),
              requestedId,
            ),
          requestedId,
        );
        if (kept.outcome === 'REFUSED') return { userErrors: kept.userErrors };
        if (kept.outcome === 'REPEATED') {
          const job = await context.load.job(kept.objectId);
          return job ? { job, userErrors: [] } : goneSince();
        }
        const { result } = kept;
        switch (result.outcome) {
          case 'REQUESTED':
            await announce(context.services, { userId: user.id, schedule: true, changed: { jobs: [result.job.id] } });
            return { job: result.job, userErrors: [] };
          case 'NOT_FOUND':
            return notFound('workflow');
          case 'TERMINATED':
            return refused({
              code: 'TERMINATED',
              message: 'The workflow has ended for good: it runs no more.',
              path: ['id'],
            });
          case 'NOT_READY':
            return refused({
              code: 'NOT_READY',
              message: notReady((await newestBuilds(context.services.db, [input.id.toLowerCase()]))[0]),
              path: ['id'],
            });
          case 'LIMIT_EXCEEDED':
            return refused({
              code: 'LIMIT_EXCEEDED',
              message: `${REQUESTED_JOBS_MAX} jobs that were asked for may wait for one workflow: wait until some have begun, or cancel them.`,
              path: ['id'],
            });
        }
      },
    ),
  }),
);

/** Why the workflow cannot run yet, and what to do. The build is the newest one, read after the refusal. */
function notReady(build: BuildRow | undefined): string {
  if (build?.status === 'FAILED')
    return `The newest build of the workflow has FAILED: ${build.error ?? 'no reason is known.'} Update the workflow with a payload, which may be the same one, to build again.`;
  return `The newest build of the workflow was not COMPLETED: it is ${build?.status ?? 'not there'} now. Run the workflow when it is COMPLETED.`;
}

const CancelJobInput = builder.inputType('CancelJobInput', {
  description: 'A job to be stopped.',
  fields: (t) => ({ id: t.id({ required: true, description: 'Its id.' }) }),
});

const CancelJobPayload = builder.objectRef<JobResult>('CancelJobPayload').implement({
  description: 'What `cancelJob` answers.',
  fields: (t) => ({
    job: t.field({
      type: Job,
      nullable: true,
      description: 'The job. One that was RUNNING is still until its worker has stopped it.',
      resolve: ({ job }) => job,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('cancelJob', (t) =>
  t.field({
    type: CancelJobPayload,
    description: 'Stops a job. It counts as neither a success nor a failure.',
    args: { input: t.arg({ type: CancelJobInput, required: true, description: 'Which job.' }) },
    resolve: audited(
      'cancelJob',
      'RUN',
      async ({ input: { id } }: Input<typeof CancelJobInput>, context, audit): Promise<JobResult> => {
        const { user } = viewerOf(context);
        if (!isId(id)) return notFound('job');
        const job = { userId: user.id, id: id.toLowerCase() };
        const result = await audit.change(context.services.db, (tx) => cancelJob(tx, job), canceledId);
        if (result.outcome !== 'CANCELED' && result.outcome !== 'STOPPING') {
          if (result.outcome === 'NOT_FOUND') return notFound('job');
          return refused({ code: 'CONFLICT', message: 'The job has ended already.', path: ['id'] });
        }
        await announce(context.services, {
          userId: user.id,
          schedule: true,
          stoppingIds: result.outcome === 'STOPPING' ? [result.job.id] : [],
          endedIds: result.outcome === 'CANCELED' ? [result.job.id] : [],
          changed: { jobs: [result.job.id] },
        });
        return { job: result.job, userErrors: [] };
      },
    ),
  }),
);

function requestedId(requested: Requested): string | undefined {
  return requested.outcome === 'REQUESTED' ? requested.job.id : undefined;
}

function canceledId(canceled: JobCanceled): string | undefined {
  return 'job' in canceled ? canceled.job.id : undefined;
}
