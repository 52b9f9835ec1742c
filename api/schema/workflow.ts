import type { WorkflowRow } from '../../db/schema.ts';
import { failuresInARow, isPaused } from '../../db/workflows/pause.ts';
import { scheduleOf } from '../../db/workflows/schedule.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { printPayload } from '../../domain/payload/print.ts';
import { DEFAULT_RUN_POLICY } from '../../domain/schedule/run-policy.ts';
import { viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { followWorkflow, followWorkflowsOf } from '../live/workflows.ts';
import { builder } from './builder.ts';
import { cost, EXPRESSIONS_COST, LONG_TEXT_COST, SLOT_COST } from './cost.ts';
import {
  BuildStatusEnum,
  PauseReasonEnum,
  TerminationReasonEnum,
  TooManyFailuresActionEnum,
  WorkflowKindEnum,
} from './enums.ts';
import { Node } from './node.ts';
import { RunPolicyType } from './run-policy.ts';
import {
  nextRunOf,
  runCount,
  runsOf,
  ScheduledRun,
  UPCOMING_RUNS,
  UPCOMING_RUNS_MAX,
  WorkflowSchedule,
} from './schedule.ts';
import { WorkflowDefinition } from './workflow-definition.ts';

export const Workflow = builder.objectRef<WorkflowRow>('Workflow');
Workflow.implement({
  description: 'A container or a check, with the schedule by which it runs.',
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
      nullable: true,
      description:
        'Minutes from one slot to the next. A slot is a time at which the workflow is due. Null if `schedule` is not an interval.',
      resolve: (workflow) => workflow.intervalMinutes,
    }),
    schedule: t.field({
      type: WorkflowSchedule,
      description: 'When the workflow runs by itself.',
      resolve: (workflow) => ({ ...scheduleOf(workflow), workflowId: workflow.id }),
    }),
    runPolicy: t.field({
      type: RunPolicyType,
      description: 'How the slots of the workflow become jobs.',
      resolve: ({ runPolicy }) => runPolicy ?? DEFAULT_RUN_POLICY,
    }),
    upcomingRuns: t.field({
      type: [ScheduledRun],
      description:
        'The next slots, the first one first, if the workflow goes on as it is. Of those that have passed, only the last one is to run. Empty if none comes, while it is paused without an end, and during a build for which its slots wait.',
      args: {
        first: t.arg.int({
          defaultValue: UPCOMING_RUNS,
          description: `How many slots to return: 1 to ${UPCOMING_RUNS_MAX}.`,
        }),
      },
      extensions: cost({ base: EXPRESSIONS_COST, perItem: SLOT_COST, pageSize: UPCOMING_RUNS }),
      resolve: async (workflow, { first }, { load }) => {
        const count = runCount(first);
        return runsOf(workflow, await load.schedule(workflow.id), count);
      },
    }),
    maxConsecutiveJobFailuresAllowed: t.exposeInt('maxConsecutiveJobFailuresAllowed', {
      description: 'When this many jobs in a row have failed, `onTooManyFailures` happens.',
    }),
    onTooManyFailures: t.field({
      type: TooManyFailuresActionEnum,
      description: 'What happens when `maxConsecutiveJobFailuresAllowed` jobs in a row have failed.',
      resolve: ({ onTooManyFailures }) => onTooManyFailures,
    }),
    pausedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the workflow was paused. Null if it is not paused.',
      resolve: (workflow) => (isPaused(workflow) ? workflow.pausedAt : null),
    }),
    pausedUntil: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the pause ends by itself. Null if it does not, or if the workflow is not paused.',
      resolve: (workflow) => (isPaused(workflow) ? workflow.pausedUntil : null),
    }),
    pauseReason: t.field({
      type: PauseReasonEnum,
      nullable: true,
      description: 'Why the workflow is paused. Null if it is not paused.',
      resolve: (workflow) => (isPaused(workflow) ? workflow.pauseReason : null),
    }),
    pauseNote: t.string({
      nullable: true,
      description: 'What was noted when the workflow was paused. Null if nothing was, or if it is not paused.',
      resolve: (workflow) => (isPaused(workflow) ? workflow.pauseNote : null),
    }),
    skippedRunCount: t.int({
      description: 'How many slots were dropped: missed, too late, or during a job. Slots of a pause do not count.',
      resolve: async ({ id, skippedRunCount }, _, { load }) =>
        (await load.schedule(id))?.skippedRunCount ?? skippedRunCount,
    }),
    logRetentionDays: t.exposeInt('logRetentionDays', {
      nullable: true,
      description:
        'For how many days log lines are kept after their job or build ends. Null if the setting of the installation applies.',
    }),
    consecutiveJobFailuresCount: t.int({
      description:
        'How many jobs in a row have failed. A job that completes sets it to 0, and so does the end of a pause for failures.',
      resolve: (workflow) => failuresInARow(workflow),
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
      description:
        'When the next slot is due, or the last one was that has passed and waits. Null if none comes, as after the only run, while it is paused without an end, during a build for which its slots wait, and after its termination.',
      resolve: async (workflow, _, { load }) => nextRunOf(workflow, await load.schedule(workflow.id)),
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
