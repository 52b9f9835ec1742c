import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { isId } from '../../domain/ids.ts';
import { publishEffects } from '../../platform/publish.ts';
import { Build } from './build.ts';
import { changeOnce, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems } from './idempotency.ts';
import { mutation } from './mutation.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { userLimits } from './user-limits.ts';
import { Workflow } from './workflow.ts';

mutation('rebuildWorkflow', 'WRITE', {
  description:
    'Builds the newest payload of a CONTAINER workflow again, as a new generation: the registry is asked what the tag is now. If the workflow has run before, it goes on with the image that it has until the new one is COMPLETED. While a build waits or runs, nothing is added, and a build that waits for the end of an outage is tried at once.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: {
    workflow: { type: Workflow, description: 'The workflow.' },
    build: { type: Build, description: 'The new build, or the one that waits or runs already.' },
  },
  resolve: async (call) => {
    const { input, viewer, context } = call;
    const { services } = context;
    const problems = idempotencyProblems(input);
    if (problems.length > 0) return invalid(problems);
    if (!isId(input.id)) return notFound('workflow');
    const id = input.id.toLowerCase();
    const rebuilt = await changeOnce('rebuildWorkflow', call, {
      make: (tx) => rebuildWorkflow(tx, { userId: viewer.user.id, id }, userLimits(services.settings)),
      objectOf: (result) => ('build' in result ? result.build.id : undefined),
      read: context.load.build,
    });
    if (rebuilt.outcome === 'REFUSED')
      return refused(
        ...rebuilt.userErrors.map((error) => (error.path?.[0] === 'payload' ? { ...error, path: ['id'] } : error)),
      );
    if (rebuilt.outcome === 'REPEATED')
      return { workflow: await context.load.workflow(rebuilt.row.workflowId), build: rebuilt.row };
    const { result } = rebuilt;
    switch (result.outcome) {
      case 'QUEUED':
      case 'UNDER_WAY':
        void publishEffects(services, result.effects); // the caller does not wait for the broker
        return { workflow: result.workflow, build: result.build };
      case 'NOT_FOUND':
        return notFound('workflow');
      case 'TERMINATED':
        return refused({
          code: 'TERMINATED',
          message: 'The workflow is terminated and is not built any more: create a new one.',
          path: ['id'],
        });
      case 'NO_IMAGE':
        return refused({
          code: 'CONFLICT',
          message: 'The workflow is a HEARTBEAT, which has no image. Only CONTAINER workflows are built.',
          path: ['id'],
        });
    }
  },
});
