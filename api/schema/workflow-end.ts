import type { WorkflowRow } from '../../db/schema.ts';
import { deleteWorkflow, type Terminated, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { isId } from '../../domain/ids.ts';
import { announceEnd } from '../announce.ts';
import { viewerOf } from '../context.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { notFound, UserError, type UserErrorShape } from './user-error.ts';
import { Workflow } from './workflow.ts';

interface EndResult {
  workflow?: WorkflowRow;
  purgedId?: string;
  userErrors: UserErrorShape[];
}

const TerminateWorkflowInput = builder.inputType('TerminateWorkflowInput', {
  description: 'A workflow to be ended for good.',
  fields: (t) => ({ id: t.id({ required: true, description: 'Its id.' }) }),
});

const TerminateWorkflowPayload = builder.objectRef<EndResult>('TerminateWorkflowPayload').implement({
  description: 'What `terminateWorkflow` answers.',
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The workflow, which has ended.',
      resolve: ({ workflow }) => workflow,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('terminateWorkflow', (t) =>
  t.field({
    type: TerminateWorkflowPayload,
    description: 'Ends a workflow for good; jobs and a build of it are stopped. A second time changes nothing.',
    args: { input: t.arg({ type: TerminateWorkflowInput, required: true, description: 'Which workflow.' }) },
    resolve: audited(
      'terminateWorkflow',
      'WRITE',
      async ({ input: { id } }: Input<typeof TerminateWorkflowInput>, context, audit): Promise<EndResult> => {
        const { user } = viewerOf(context);
        const { services } = context;
        const ended = isId(id)
          ? await audit.change(
              services.db,
              (tx) => terminateWorkflow(tx, { userId: user.id, id: id.toLowerCase() }),
              endedId,
            )
          : undefined;
        if (!ended) return notFound('workflow');
        await announceEnd(services, user.id, ended);
        return { workflow: ended.workflow, userErrors: [] };
      },
    ),
  }),
);

const DeleteWorkflowInput = builder.inputType('DeleteWorkflowInput', {
  description: 'A workflow to be deleted.',
  fields: (t) => ({
    id: t.id({ required: true, description: 'Its id.' }),
    purge: t.boolean({
      description: 'Whether its history goes too, now; also of one that was deleted before. False unless given.',
    }),
  }),
});

const DeleteWorkflowPayload = builder.objectRef<EndResult>('DeleteWorkflowPayload').implement({
  description: 'What `deleteWorkflow` answers.',
  fields: (t) => ({
    deletedWorkflowId: t.id({
      nullable: true,
      description: 'The id of the deleted workflow.',
      resolve: ({ workflow, purgedId }) => purgedId ?? workflow?.id,
    }),
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The deleted workflow; null after a purge, which leaves none.',
      resolve: ({ workflow }) => workflow,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('deleteWorkflow', (t) =>
  t.field({
    type: DeleteWorkflowPayload,
    description:
      'Ends a workflow for good and hides it from lists; its history stays readable by id, or goes too. A second time changes nothing.',
    args: { input: t.arg({ type: DeleteWorkflowInput, required: true, description: 'Which workflow.' }) },
    resolve: audited(
      'deleteWorkflow',
      'WRITE',
      async ({ input }: Input<typeof DeleteWorkflowInput>, context, audit): Promise<EndResult> => {
        const { user } = viewerOf(context);
        const { services } = context;
        const purge = input.purge === true;
        const ended = isId(input.id)
          ? await audit.change(
              services.db,
              (tx) => deleteWorkflow(tx, { userId: user.id, id: input.id.toLowerCase(), purge }),
              endedId,
            )
          : undefined;
        if (!ended) return notFound('workflow');
        await announceEnd(services, user.id, ended);
        return { ...(purge ? { purgedId: ended.workflow.id } : { workflow: ended.workflow }), userErrors: [] };
      },
    ),
  }),
);

function endedId(ended: Terminated | undefined): string | undefined {
  return ended?.workflow.id;
}
