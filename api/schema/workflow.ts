import type { WorkflowRow } from '../../db/schema.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { printPayload } from '../../domain/payload/print.ts';
import { viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { followWorkflow, followWorkflowsOf } from '../live/workflows.ts';
import { builder } from './builder.ts';
import { cost, LONG_TEXT_COST } from './cost.ts';
import { BuildStatusEnum, TerminationReasonEnum, WorkflowKindEnum } from './enums.ts';
import { Node } from './node.ts';
import { WorkflowDefinition } from './workflow-definition.ts';

export const Workflow = builder.objectRef<WorkflowRow>('Workflow');
Workflow.implement({
  description: 'A container or a check that runs at an interval, until too many of its jobs fail in a row.',
  interfaces: [Node],
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'The id of the account that owns the workflow.' }),
    name: t.exposeString('name', { description: 'The name of the workflow.' }),
    kind: t.field({
      type: WorkflowKindEnum,
      description: 'What the workflow runs. It never changes.',
      resolve: ({ kind }) => kind,
    }),
    payload: t.string({
      description:
        'The payload as a JSON document with its "kind" first. Secrets read as {"secret": true}. You can send it back in an update, as `WorkflowPayloadInput.json`.',
      extensions: cost({ base: LONG_TEXT_COST }),
      resolve: async (workflow, _, { load, budget }) => {
        const text = printPayload(payloadOf(workflow, await load.payload(workflow)));
        budget.read(text.length);
        return text;
      },
    }),
    definition: t.field({
      type: WorkflowDefinition,
      description: 'The payload in types, without the password of a registry login. The value of a secret is null.',
      extensions: cost({ base: LONG_TEXT_COST }),
      resolve: async (workflow, _, { load, budget }) => {
        const payload = payloadOf(workflow, await load.payload(workflow));
        budget.read(JSON.stringify(payload).length);
        return payload;
      },
    }),
    interval: t.int({
      description: 'Minutes from one slot to the next. A slot is a time at which the workflow is due.',
      resolve: (workflow) => workflow.intervalMinutes,
    }),
    maxConsecutiveJobFailuresAllowed: t.exposeInt('maxConsecutiveJobFailuresAllowed', {
      description: 'The workflow is terminated when this many jobs in a row have failed.',
    }),
    logRetentionDays: t.exposeInt('logRetentionDays', {
      nullable: true,
      description:
        'For how many days log lines are kept after their job or build ends. Null if the setting of the installation applies.',
    }),
    consecutiveJobFailuresCount: t.exposeInt('consecutiveJobFailuresCount', {
      description: 'How many jobs in a row have failed. A job that completes sets it to 0.',
    }),
    buildStatus: t.field({
      type: BuildStatusEnum,
      description: 'The status of the newest build. Always COMPLETED for HEARTBEAT, which needs no build.',
      resolve: ({ buildStatus }) => buildStatus,
    }),
    generation: t.exposeInt('generation', {
      description: 'The number of the current payload, counted from 1. Each new payload increases it.',
    }),
    nextRunAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the next slot is due. Null if the workflow does not run by itself, as after its termination.',
      resolve: ({ id, terminatedAt }, _, { load }) => (terminatedAt ? null : load.nextRun(id)),
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the workflow was created.',
      resolve: (workflow) => workflow.createdAt,
    }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'When the workflow last changed.',
      resolve: (workflow) => workflow.updatedAt,
    }),
    terminatedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the workflow was terminated. Null until then.',
      resolve: (workflow) => workflow.terminatedAt,
    }),
    terminationReason: t.field({
      type: TerminationReasonEnum,
      nullable: true,
      description: 'Why the workflow was terminated. Null until then.',
      resolve: (workflow) => workflow.terminationReason,
    }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'When the workflow was deleted. Null until then. Lists leave deleted workflows out, and their history stays readable by id.',
      resolve: (workflow) => workflow.deletedAt,
    }),
    purgedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'When the workflow was purged. Only the last event of `workflowUpdated` without an id shows it: nothing else shows a purged workflow.',
      resolve: (workflow) => workflow.purgeRequestedAt,
    }),
  }),
});

/** The payload of a workflow. The sweep may have removed that of a purged one. */
function payloadOf({ kind, purgeRequestedAt }: WorkflowRow, payload: Payload | undefined): Payload {
  if (payload || !purgeRequestedAt) return orNotFound(payload);
  return kind === 'HEARTBEAT' ? { kind: 'HEARTBEAT' } : { kind: 'CONTAINER' };
}

builder.queryField('workflow', (t) =>
  t.field({
    type: Workflow,
    nullable: true,
    description: 'One of your workflows. Null if you have none with this id.',
    args: { id: t.arg.id({ required: true, description: 'The id of the workflow.' }) },
    resolve: (_, { id }, context) => {
      viewerOf(context);
      return context.load.workflow(id);
    },
  }),
);

builder.subscriptionField('workflowUpdated', (t) =>
  t.field({
    type: Workflow,
    description:
      'With an id: the workflow as it is now, then after each change. Completes when the workflow is purged. Without an id: each of your workflows after each of its changes; the last one is its purge, with `purgedAt`. It shows the newest state: states in between may be skipped.',
    args: { workflowId: t.arg.id({ description: 'The id of the workflow.' }) },
    subscribe: async (_, { workflowId }, context) => {
      const { user } = viewerOf(context);
      if (typeof workflowId !== 'string') return followWorkflowsOf(context.services, user.id);
      const workflow = await context.load.workflow(workflowId);
      if (!workflow) throw failure('NOT_FOUND', 'You have no workflow with this id.');
      return followWorkflow(context.services, workflow);
    },
    extensions: { readAgain: true },
    // What is read beside the event belongs to the workflow as it is now. A later event repeats it.
    resolve: async (workflow, _, { load, isSnapshot }) =>
      (isSnapshot && !workflow.purgeRequestedAt ? await load.workflow(workflow.id) : undefined) ?? workflow,
  }),
);
