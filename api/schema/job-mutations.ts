import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { newestBuilds } from '../../db/lookup.ts';
import type { BuildRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { REQUESTED_JOBS_MAX } from '../../domain/limits.ts';
import { publishEffects } from '../../platform/publish.ts';
import { changeOnce, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems } from './idempotency.ts';
import { Job } from './job.ts';
import { mutation } from './mutation.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { userLimits } from './user-limits.ts';

mutation('runWorkflow', 'RUN', {
  description: 'Creates a MANUAL job. It runs at once, or after the active job of the workflow.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: { job: { type: Job, description: 'The new job.' } },
  resolve: async (call) => {
    const { input, viewer, context } = call;
    const { services } = context;
    const problems = idempotencyProblems(input);
    if (problems.length > 0) return invalid(problems);
    if (!isId(input.id)) return notFound('workflow');
    const { user, tokenName } = viewer;
    const request = { userId: user.id, id: input.id.toLowerCase(), requestedBy: { userId: user.id, tokenName } };
    const requested = await changeOnce('runWorkflow', call, {
      make: (tx) => runWorkflow(tx, request, userLimits(services.settings)),
      objectOf: (made) => (made.outcome === 'REQUESTED' ? made.job.id : undefined),
      read: context.load.job,
    });
    if (requested.outcome === 'REFUSED') return refused(...requested.userErrors);
    if (requested.outcome === 'REPEATED') return { job: requested.row };
    const { result } = requested;
    switch (result.outcome) {
      case 'REQUESTED':
        void publishEffects(services, result.effects); // the caller does not wait for the broker
        return { job: result.job };
      case 'NOT_FOUND':
        return notFound('workflow');
      case 'TERMINATED':
        return refused({
          code: 'TERMINATED',
          message: 'The workflow is terminated and does not run any more.',
          path: ['id'],
        });
      case 'NOT_READY':
        return refused({
          code: 'NOT_READY',
          message: notReady((await newestBuilds(services.db, [request.id]))[0]),
          path: ['id'],
        });
      case 'PUSH':
        return refused({
          code: 'CONFLICT',
          message: 'A push heartbeat runs nothing by itself: send a ping to its `pingUrl`.',
          path: ['id'],
        });
      case 'LIMIT_EXCEEDED':
        return refused({
          code: 'LIMIT_EXCEEDED',
          message: `At most ${REQUESTED_JOBS_MAX} requested jobs of one workflow may wait: wait until some have started, or cancel them.`,
          path: ['id'],
        });
    }
  },
});

/**
 * Why the workflow cannot run yet, and what to do. The build is the newest one, read after the
 * refusal.
 */
function notReady(build: BuildRow | undefined): string {
  if (build?.status === 'FAILED')
    return `The newest build of the workflow FAILED: ${build.error ?? 'the reason is unknown.'} rebuildWorkflow builds it again, and so does an update with a payload.`;
  return `The newest build of the workflow was not COMPLETED, and is ${build?.status ?? 'missing'} now. Run the workflow when it is COMPLETED.`;
}

mutation('cancelJob', 'RUN', {
  description: 'Cancels a job that has not ended. It counts as neither a success nor a failure.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the job.' }) }),
  payload: {
    job: { type: Job, description: 'The job. A RUNNING job stays RUNNING until its worker has stopped it.' },
  },
  resolve: async ({ input: { id }, viewer: { user }, context: { services }, change }) => {
    if (!isId(id)) return notFound('job');
    const canceled = await change(
      (tx) => cancelJob(tx, { userId: user.id, id: id.toLowerCase() }),
      (result) => ('job' in result ? result.job.id : undefined),
    );
    if (canceled.outcome !== 'CANCELED' && canceled.outcome !== 'STOPPING') {
      if (canceled.outcome === 'NOT_FOUND') return notFound('job');
      return refused({ code: 'CONFLICT', message: 'The job has ended already.', path: ['id'] });
    }
    void publishEffects(services, canceled.effects); // the caller does not wait for the broker
    return { job: canceled.job };
  },
});
