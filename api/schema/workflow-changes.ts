import type { WorkflowRow } from '../../db/schema.ts';
import { createWorkflow, type Updated, updateWorkflow } from '../../db/workflows/workflows.ts';
import { isId, newId } from '../../domain/ids.ts';
import { parsePayload } from '../../domain/payload/input.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { placeProblems, sealPayload } from '../../domain/payload/secrets.ts';
import { below } from '../../domain/problem.ts';
import { workflowProblems } from '../../domain/workflow-input.ts';
import { announce } from '../announce.ts';
import { type Context, viewerOf } from '../context.ts';
import { audited, type Input } from './audited.ts';
import { builder } from './builder.ts';
import { goneSince, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems, type Kept, keepOnce } from './idempotency.ts';
import { WorkflowPayloadInput } from './payload-input.ts';
import { invalid, notFound, refused, UserError, type UserErrorShape } from './user-error.ts';
import { userLimits } from './user-limits.ts';
import { Workflow } from './workflow.ts';

interface WorkflowResult {
  workflow?: WorkflowRow;
  userErrors: UserErrorShape[];
}

const LOG_RETENTION_DESCRIPTION =
  'How many days log lines are kept from the end of their job or build on: 1 to as many as the installation keeps them (LOG_RETENTION_DAYS), which holds where none is given.';

const CreateWorkflowInput = builder.inputType('CreateWorkflowInput', {
  description: 'A workflow to be made.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'What it is called: 1 to 255 characters.' }),
    payload: t.field({ type: WorkflowPayloadInput, required: true, description: 'What it runs.' }),
    interval: t.int({ required: true, description: 'Minutes from one slot to the next: 1 to 525,600.' }),
    maxConsecutiveJobFailuresAllowed: t.int({
      required: true,
      description: 'When as many jobs in a row have failed, it is terminated: 1 to 1,000.',
    }),
    logRetentionDays: t.int({ description: LOG_RETENTION_DESCRIPTION }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
});

const CreateWorkflowPayload = builder.objectRef<WorkflowResult>('CreateWorkflowPayload').implement({
  description: 'What `createWorkflow` answers.',
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The new workflow.',
      resolve: ({ workflow }) => workflow,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('createWorkflow', (t) =>
  t.field({
    type: CreateWorkflowPayload,
    description: 'Makes a workflow. A HEARTBEAT runs at once; a CONTAINER when its image is ready.',
    args: { input: t.arg({ type: CreateWorkflowInput, required: true, description: 'The workflow.' }) },
    resolve: audited(
      'createWorkflow',
      'WRITE',
      async ({ input }: Input<typeof CreateWorkflowInput>, context, audit): Promise<WorkflowResult> => {
        const { user } = viewerOf(context);
        const { services } = context;
        const { value: payload, problems } = parsePayload(input.payload, services.settings);
        const allProblems = [
          ...workflowProblems(input, services.settings),
          ...below(['payload'], problems ?? []),
          ...idempotencyProblems(input),
        ];
        if (!payload || allProblems.length > 0) return invalid(allProblems);
        const id = newId();
        const sealed = sealPayload(services.sealer, { workflowId: id, given: payload });
        if (sealed.problems) return invalid(below(['payload'], placeProblems(input.payload, sealed.problems)));
        const { name, interval: intervalMinutes, maxConsecutiveJobFailuresAllowed } = input;
        const created = {
          id,
          userId: user.id,
          name,
          payload: sealed.value,
          intervalMinutes,
          maxConsecutiveJobFailuresAllowed,
          logRetentionDays: input.logRetentionDays ?? null,
        };
        const kept = await keepOnce(
          services,
          { userId: user.id, mutation: 'createWorkflow', input },
          (db) => audit.change(db, (tx) => createWorkflow(tx, created, userLimits(services.settings)), madeId),
          madeId,
        );
        if (kept.outcome !== 'DONE') return repeated(kept, context);
        const { workflow, buildId } = kept.result;
        await announce(services, {
          userId: user.id,
          buildId,
          schedule: workflow.kind === 'HEARTBEAT',
          changed: { workflows: [workflow.id], ...(buildId === undefined ? {} : { builds: [buildId] }) },
        });
        return { workflow, userErrors: [] };
      },
    ),
  }),
);

const UpdateWorkflowInput = builder.inputType('UpdateWorkflowInput', {
  description: 'What to change of a workflow. What is left out stays.',
  fields: (t) => ({
    id: t.id({ required: true, description: 'Its id.' }),
    name: t.string({ description: 'What it is called: 1 to 255 characters.' }),
    payload: t.field({ type: WorkflowPayloadInput, description: 'What it runs, of the same kind as before.' }),
    interval: t.int({ description: 'Minutes from one slot to the next, counted from the last slot: 1 to 525,600.' }),
    maxConsecutiveJobFailuresAllowed: t.int({
      description: 'When as many jobs in a row have failed, it is terminated: 1 to 1,000.',
    }),
    logRetentionDays: t.int({
      description: `${LOG_RETENTION_DESCRIPTION} Left out it stays; null is the installation's again.`,
    }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
});

const UpdateWorkflowPayload = builder.objectRef<WorkflowResult>('UpdateWorkflowPayload').implement({
  description: 'What `updateWorkflow` answers.',
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      nullable: true,
      description: 'The workflow as it is now.',
      resolve: ({ workflow }) => workflow,
    }),
    userErrors: t.field({
      type: [UserError],
      description: 'What is to be mended.',
      resolve: ({ userErrors }) => userErrors,
    }),
  }),
});

builder.mutationField('updateWorkflow', (t) =>
  t.field({
    type: UpdateWorkflowPayload,
    description:
      'Changes a workflow. Another payload is another generation; a CONTAINER is built anew before it runs again. Where the newest build has FAILED, the same payload is built once more.',
    args: { input: t.arg({ type: UpdateWorkflowInput, required: true, description: 'What to change.' }) },
    resolve: audited(
      'updateWorkflow',
      'WRITE',
      async ({ input }: Input<typeof UpdateWorkflowInput>, context, audit): Promise<WorkflowResult> => {
        const { user } = viewerOf(context);
        const { services } = context;
        const { value: payload, problems } = input.payload ? parsePayload(input.payload, services.settings) : {};
        const allProblems = [
          ...workflowProblems(input, services.settings),
          ...below(['payload'], problems ?? []),
          ...idempotencyProblems(input),
        ];
        if (allProblems.length > 0) return invalid(allProblems);
        if (!isId(input.id)) return notFound('workflow');
        const workflowId = input.id.toLowerCase();
        const change = payload && {
          kind: payload.kind,
          from: (stored: Payload) => sealPayload(services.sealer, { workflowId, given: payload, stored }),
        };
        const changes = {
          userId: user.id,
          id: workflowId,
          ...(change ? { payload: change } : {}),
          ...(typeof input.name === 'string' ? { name: input.name } : {}),
          ...(typeof input.interval === 'number' ? { intervalMinutes: input.interval } : {}),
          ...(typeof input.maxConsecutiveJobFailuresAllowed === 'number'
            ? { maxConsecutiveJobFailuresAllowed: input.maxConsecutiveJobFailuresAllowed }
            : {}),
          ...(input.logRetentionDays === undefined ? {} : { logRetentionDays: input.logRetentionDays }),
        };
        const kept = await keepOnce(
          services,
          { userId: user.id, mutation: 'updateWorkflow', input: meant(input) },
          (db) => audit.change(db, (tx) => updateWorkflow(tx, changes, userLimits(services.settings)), updatedId),
          updatedId,
        );
        if (kept.outcome !== 'DONE') return repeated(kept, context);
        const updated = kept.result;
        switch (updated.outcome) {
          case 'NOT_FOUND':
            return notFound('workflow');
          case 'TERMINATED':
            return refused({
              code: 'TERMINATED',
              message: 'The workflow has ended for good: make a new one.',
              path: ['id'],
            });
          case 'KIND_CHANGED':
            return refused({
              code: 'CONFLICT',
              message: 'The kind of a workflow cannot be changed: make a new one.',
              path: ['payload'],
            });
          case 'INVALID':
            return invalid(below(['payload'], placeProblems(input.payload ?? {}, updated.problems)));
        }
        const { workflow, buildId, canceledBuildIds } = updated;
        await announce(services, {
          userId: user.id,
          buildId,
          schedule: true,
          stoppingIds: canceledBuildIds,
          changed: {
            workflows: [workflow.id],
            builds: [...canceledBuildIds, ...(buildId === undefined ? [] : [buildId])],
          },
        });
        return { workflow, userErrors: [] };
      },
    ),
  }),
);

/**
 * An update for comparing it with another: null is the same as left out everywhere (domain/canonical.ts) but where it changes something. No
 * number of days is a text.
 */
function meant<Input extends { logRetentionDays?: number | null }>(input: Input) {
  return input.logRetentionDays === null ? { ...input, logRetentionDays: "the installation's" } : input;
}

/** What a call gives that has changed nothing: its key was known. */
async function repeated(kept: Exclude<Kept<unknown>, { outcome: 'DONE' }>, { load }: Context): Promise<WorkflowResult> {
  if (kept.outcome === 'REFUSED') return { userErrors: kept.userErrors };
  const workflow = await load.workflow(kept.objectId);
  return workflow ? { workflow, userErrors: [] } : goneSince();
}

function madeId({ workflow }: { workflow: WorkflowRow }): string {
  return workflow.id;
}

function updatedId(updated: Updated): string | undefined {
  return updated.outcome === 'UPDATED' ? updated.workflow.id : undefined;
}
