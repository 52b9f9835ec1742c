import { listWorkflows } from '../../db/listing.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { printPayload } from '../../domain/payload/print.ts';
import { textProblem } from '../../domain/text.ts';
import { viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { followWorkflow, followWorkflowsOf } from '../live/workflows.ts';
import { pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { connectionOf, pagingArgs } from './connection.ts';
import { BuildStatusEnum, TerminationReasonEnum, WorkflowKindEnum } from './enums.ts';
import { costs, LONG_TEXT_COST, LOOKING_THROUGH_COST, STATEMENT_COST } from './field-cost.ts';
import { Node } from './node.ts';

export const Workflow = builder.objectRef<WorkflowRow>('Workflow');
Workflow.implement({
  description: 'What to run, how often, and how many failures in a row are too many.',
  interfaces: [Node],
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'Who owns it.' }),
    name: t.exposeString('name', { description: 'What it is called.' }),
    kind: t.field({ type: WorkflowKindEnum, description: 'What it runs.', resolve: ({ kind }) => kind }),
    payload: t.string({
      description: 'What it runs, as a JSON document, its "kind" first. A secret is {"secret": true} there.',
      extensions: costs(LONG_TEXT_COST),
      resolve: async (workflow, _, { load, budget }) => {
        const text = printPayload(orNotFound(await load.payload(workflow)));
        budget.take(text.length);
        return text;
      },
    }),
    interval: t.int({
      description: 'Minutes from one slot to the next.',
      resolve: (workflow) => workflow.intervalMinutes,
    }),
    maxConsecutiveJobFailuresAllowed: t.exposeInt('maxConsecutiveJobFailuresAllowed', {
      description: 'When as many jobs in a row have failed, it is terminated.',
    }),
    logRetentionDays: t.exposeInt('logRetentionDays', {
      nullable: true,
      description:
        "How many days log lines are kept from the end of their job or build on; null: as long as the installation keeps everybody's.",
    }),
    consecutiveJobFailuresCount: t.exposeInt('consecutiveJobFailuresCount', {
      description: 'How many jobs in a row have failed up to now.',
    }),
    buildStatus: t.field({
      type: BuildStatusEnum,
      description: 'How far the newest build is; COMPLETED for HEARTBEAT, which needs none.',
      resolve: ({ buildStatus }) => buildStatus,
    }),
    generation: t.exposeInt('generation', { description: "Counts the payload's revisions from 1." }),
    nextRunAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'The next slot; null when it will not run by itself.',
      resolve: ({ id, terminatedAt }, _, { load }) => (terminatedAt ? null : load.nextRun(id)),
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When it was made.',
      resolve: (workflow) => workflow.createdAt,
    }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'When its row was last changed.',
      resolve: (workflow) => workflow.updatedAt,
    }),
    terminatedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ended for good; null while it has not.',
      resolve: (workflow) => workflow.terminatedAt,
    }),
    terminationReason: t.field({
      type: TerminationReasonEnum,
      nullable: true,
      description: 'Why it ended.',
      resolve: (workflow) => workflow.terminationReason,
    }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was deleted: it is in no list unless asked for, and its history stays readable by id.',
      resolve: (workflow) => workflow.deletedAt,
    }),
  }),
});

const WorkflowConnection = connectionOf<WorkflowRow>(Workflow, 'Workflow', 'newest first');

const WorkflowFilter = builder.inputType('WorkflowFilter', {
  description: 'Which workflows. All that is given must hold.',
  fields: (t) => ({
    kind: t.field({ type: WorkflowKindEnum, description: 'Of this kind.' }),
    buildStatus: t.field({ type: BuildStatusEnum, description: 'With the newest build in this state.' }),
    terminated: t.boolean({ description: 'Whether they have ended for good.' }),
    deleted: t.boolean({ description: 'Whether they were deleted: false unless asked.' }),
    nameContains: t.string({ description: 'With this in the name, in upper or lower case.' }),
    intervalMin: t.int({ description: 'With an interval of at least so many minutes.' }),
    intervalMax: t.int({ description: 'With an interval of at most so many minutes.' }),
  }),
});

builder.queryField('workflow', (t) =>
  t.field({
    type: Workflow,
    nullable: true,
    description: "A workflow of the viewer's; null where there is none with this id.",
    args: { id: t.arg.id({ required: true, description: 'The id. A malformed one is an unknown one.' }) },
    resolve: (_, { id }, context) => {
      viewerOf(context);
      return context.load.workflow(id);
    },
  }),
);

builder.queryField('workflows', (t) =>
  t.field({
    type: WorkflowConnection,
    description: "The viewer's workflows, newest first.",
    extensions: costs(STATEMENT_COST, { arguments: ['filter'], cost: LOOKING_THROUGH_COST }),
    args: { ...pagingArgs(), filter: t.arg({ type: WorkflowFilter, description: 'Which of them.' }) },
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
      "With an id: the workflow as it is now, then at each change. Without: each change of any of the viewer's.",
    args: { workflowId: t.arg.id({ description: 'This workflow.' }) },
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
