import { listWorkflows } from '../../db/listing.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { printPayload } from '../../domain/payload/print.ts';
import { textProblem } from '../../domain/text.ts';
import { viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { followWorkflow, followWorkflowsOf } from '../live/workflows.ts';
import { PAGE_SIZE, pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { connectionOf, pagingArgs } from './connection.ts';
import { cost, LONG_TEXT_COST, SEARCH_COST, STATEMENT_COST } from './cost.ts';
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
        const text = printPayload(orNotFound(await load.payload(workflow)));
        budget.read(text.length);
        return text;
      },
    }),
    definition: t.field({
      type: WorkflowDefinition,
      description: 'The payload in types, without the password of a registry login. The value of a secret is null.',
      extensions: cost({ base: LONG_TEXT_COST }),
      resolve: async (workflow, _, { load, budget }) => {
        const payload = orNotFound(await load.payload(workflow));
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
  }),
});

const WorkflowConnection = connectionOf<WorkflowRow>(Workflow, 'Workflow', 'newest first');

const WorkflowFilter = builder.inputType('WorkflowFilter', {
  description: 'Selects workflows that meet all of the given conditions.',
  fields: (t) => ({
    kind: t.field({ type: WorkflowKindEnum, description: 'Workflows of this kind.' }),
    buildStatus: t.field({ type: BuildStatusEnum, description: 'Workflows whose newest build has this status.' }),
    terminated: t.boolean({ description: 'Workflows that are terminated (true) or are not (false).' }),
    deleted: t.boolean({ description: 'Workflows that are deleted (true) or are not (false). Defaults to false.' }),
    nameContains: t.string({ description: 'Workflows with this text in their name. Case makes no difference.' }),
    intervalMin: t.int({ description: 'Workflows with an interval of at least this many minutes.' }),
    intervalMax: t.int({ description: 'Workflows with an interval of at most this many minutes.' }),
  }),
});

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

builder.queryField('workflows', (t) =>
  t.field({
    type: WorkflowConnection,
    description: 'Your workflows, newest first.',
    extensions: cost({
      base: STATEMENT_COST,
      given: { arguments: ['filter'], cost: SEARCH_COST },
      pageSize: PAGE_SIZE,
    }),
    args: { ...pagingArgs(), filter: t.arg({ type: WorkflowFilter, description: 'Which workflows.' }) },
    resolve: async (_, { filter, ...args }, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      const problem = textProblem(filter?.nameContains ?? '');
      if (problem) throw failure('BAD_REQUEST', `\`nameContains\` ${problem}.`);
      return pageOf(await listWorkflows(context.services.db, user.id, filter ?? {}, window), window);
    },
  }),
);

builder.subscriptionField('workflowUpdated', (t) =>
  t.field({
    type: Workflow,
    description:
      'With an id: the workflow as it is now, then after each change. Completes when the workflow is purged. Without an id: each of your workflows after each of its changes.',
    args: { workflowId: t.arg.id({ description: 'The id of the workflow.' }) },
    subscribe: async (_, { workflowId }, context) => {
      const { user } = viewerOf(context);
      if (typeof workflowId !== 'string') return followWorkflowsOf(context.services, user.id);
      const workflow = await context.load.workflow(workflowId);
      if (!workflow) throw failure('NOT_FOUND', 'You have no workflow with this id.');
      return followWorkflow(context.services, workflow);
    },
    resolve: (workflow) => workflow,
  }),
);
