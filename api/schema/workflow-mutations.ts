import type { WorkflowRow } from '../../db/schema.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { isId, newId } from '../../domain/ids.ts';
import { parsePayload } from '../../domain/payload/input.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import { placeProblems, sealPayload } from '../../domain/payload/secrets.ts';
import { below } from '../../domain/problem.ts';
import { workflowProblems } from '../../domain/workflow-input.ts';
import { publishEffects } from '../../platform/publish.ts';
import { changeOnce, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems } from './idempotency.ts';
import { mutation } from './mutation.ts';
import { WorkflowPayloadInput } from './payload-input.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { userLimits } from './user-limits.ts';
import { Workflow } from './workflow.ts';

const NAME_DESCRIPTION = 'The name of the workflow: 1 to 255 characters.';
const FAILURES_DESCRIPTION = 'The workflow is terminated when this many jobs in a row have failed: 1 to 1,000.';
const LOG_RETENTION_DESCRIPTION =
  'For how many days log lines are kept after their job or build ends: from 1 to LOG_RETENTION_DAYS, the setting of the installation.';

mutation('createWorkflow', 'WRITE', {
  description: 'Creates a workflow. A HEARTBEAT first runs at once, a CONTAINER as soon as its image is ready.',
  input: (t) => ({
    name: t.string({ required: true, description: NAME_DESCRIPTION }),
    payload: t.field({ type: WorkflowPayloadInput, required: true, description: 'What the workflow runs.' }),
    interval: t.int({ required: true, description: 'Minutes from one slot to the next: 1 to 525,600.' }),
    maxConsecutiveJobFailuresAllowed: t.int({ required: true, description: FAILURES_DESCRIPTION }),
    logRetentionDays: t.int({ description: `${LOG_RETENTION_DESCRIPTION} Defaults to that setting.` }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: { workflow: { type: Workflow, description: 'The new workflow.' } },
  resolve: async (call) => {
    const { input, viewer, context } = call;
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
    const values = {
      id,
      userId: viewer.user.id,
      name,
      payload: sealed.value,
      intervalMinutes,
      maxConsecutiveJobFailuresAllowed,
      logRetentionDays: input.logRetentionDays ?? null,
    };
    const created = await changeOnce('createWorkflow', call, {
      make: (tx) => createWorkflow(tx, values, userLimits(services.settings)),
      objectOf: ({ workflow }) => workflow.id,
      read: context.load.workflow,
    });
    if (created.outcome === 'REFUSED') return refused(...created.userErrors);
    if (created.outcome === 'REPEATED') return { workflow: created.row };
    const { workflow, effects } = created.result;
    void publishEffects(services, effects); // the caller does not wait for the broker
    return { workflow };
  },
});

mutation('updateWorkflow', 'WRITE', {
  description:
    'Changes a workflow. A new payload starts a new generation, and a CONTAINER is built before it runs again. If the newest build FAILED, sending the same payload builds it again.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    name: t.string({ description: `${NAME_DESCRIPTION} Left out, it stays.` }),
    payload: t.field({
      type: WorkflowPayloadInput,
      description: 'What the workflow runs, of the same kind as before. Left out, it stays.',
    }),
    interval: t.int({
      description: 'Minutes from one slot to the next, counted from the last slot: 1 to 525,600. Left out, it stays.',
    }),
    maxConsecutiveJobFailuresAllowed: t.int({ description: `${FAILURES_DESCRIPTION} Left out, it stays.` }),
    logRetentionDays: t.int({
      description: `${LOG_RETENTION_DESCRIPTION} Left out, it stays; null returns to that setting.`,
    }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: { workflow: { type: Workflow, description: 'The workflow after the update.' } },
  resolve: async (call) => {
    const { input, viewer, context } = call;
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
      userId: viewer.user.id,
      id: workflowId,
      ...(change ? { payload: change } : {}),
      ...(typeof input.name === 'string' ? { name: input.name } : {}),
      ...(typeof input.interval === 'number' ? { intervalMinutes: input.interval } : {}),
      ...(typeof input.maxConsecutiveJobFailuresAllowed === 'number'
        ? { maxConsecutiveJobFailuresAllowed: input.maxConsecutiveJobFailuresAllowed }
        : {}),
      ...(input.logRetentionDays === undefined ? {} : { logRetentionDays: input.logRetentionDays }),
    };
    const changed = await changeOnce('updateWorkflow', call, {
      make: (tx) => updateWorkflow(tx, changes, userLimits(services.settings)),
      objectOf: (updated) => (updated.outcome === 'UPDATED' ? updated.workflow.id : undefined),
      read: context.load.workflow,
      nullMatters: ['logRetentionDays'],
    });
    if (changed.outcome === 'REFUSED') return refused(...changed.userErrors);
    if (changed.outcome === 'REPEATED') return { workflow: changed.row };
    const updated = changed.result;
    switch (updated.outcome) {
      case 'NOT_FOUND':
        return notFound('workflow');
      case 'TERMINATED':
        return refused({
          code: 'TERMINATED',
          message: 'The workflow is terminated: create a new one.',
          path: ['id'],
        });
      case 'KIND_CHANGED':
        return refused({
          code: 'CONFLICT',
          message: 'The kind of a workflow cannot change: create a new one.',
          path: ['payload'],
        });
      case 'INVALID':
        return invalid(below(['payload'], placeProblems(input.payload ?? {}, updated.problems)));
    }
    const { workflow, effects } = updated;
    void publishEffects(services, effects); // the caller does not wait for the broker
    return { workflow };
  },
});

mutation('terminateWorkflow', 'WRITE', {
  description:
    'Terminates a workflow for good, and stops its jobs and its build. Terminating it again changes nothing.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the workflow.' }) }),
  payload: { workflow: { type: Workflow, description: 'The terminated workflow.' } },
  resolve: async ({ input: { id }, viewer: { user }, context: { services }, change }) => {
    const terminated = isId(id)
      ? await change((tx) => terminateWorkflow(tx, { userId: user.id, id: id.toLowerCase() }), terminatedId)
      : undefined;
    if (!terminated) return notFound('workflow');
    void publishEffects(services, terminated.effects); // the caller does not wait for the broker
    return { workflow: terminated.workflow };
  },
});

mutation('deleteWorkflow', 'WRITE', {
  description:
    'Terminates a workflow for good and hides it from lists. Its history stays readable by id, unless you purge it. Deleting it again changes nothing.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    purge: t.boolean({
      description:
        'Whether to remove the workflow and its whole history now, even if it was deleted before. Defaults to false.',
    }),
  }),
  payload: {
    deletedWorkflowId: { type: 'ID', description: 'The id of the deleted workflow.' },
    workflow: { type: Workflow, description: 'The deleted workflow. Null after a purge.' },
  },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    const purge = input.purge === true;
    const deleted = isId(input.id)
      ? await change((tx) => deleteWorkflow(tx, { userId: user.id, id: input.id.toLowerCase(), purge }), terminatedId)
      : undefined;
    if (!deleted) return notFound('workflow');
    void publishEffects(services, deleted.effects); // the caller does not wait for the broker
    const { workflow } = deleted;
    return { deletedWorkflowId: workflow.id, ...(purge ? {} : { workflow }) };
  },
});

function terminatedId(terminated: { workflow: WorkflowRow } | undefined): string | undefined {
  return terminated?.workflow.id;
}
