import { isDeepStrictEqual } from 'node:util';
import type { Db } from '../../db/client.ts';
import { databaseClockMs } from '../../db/jobs/anchor.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { scheduleOf } from '../../db/workflows/schedule.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { createWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { isId, newId } from '../../domain/ids.ts';
import { ALERT_CHANNELS_PER_WORKFLOW_MAX } from '../../domain/limits.ts';
import { parsePayload } from '../../domain/payload/input.ts';
import type { GivenPayload, Payload } from '../../domain/payload/payload.ts';
import { placeProblems, sealPayload } from '../../domain/payload/secrets.ts';
import { below, type Parsed, type Problem } from '../../domain/problem.ts';
import { runPolicyProblems, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import {
  type ScheduleInput as Given,
  parseSchedule,
  type Schedule,
  timeProblems,
} from '../../domain/schedule/schedule.ts';
import { workflowProblems } from '../../domain/workflow-input.ts';
import { publishEffects } from '../../platform/publish.ts';
import { newPingToken } from '../auth/ping-token.ts';
import { choiceOfChannels } from './alert-choice.ts';
import { TooManyFailuresActionEnum } from './enums.ts';
import { changeOnce, IDEMPOTENCY_KEY_DESCRIPTION, idempotencyProblems } from './idempotency.ts';
import { mutation } from './mutation.ts';
import { WorkflowPayloadInput } from './payload-input.ts';
import { RunPolicyInput } from './run-policy.ts';
import { ScheduleInput } from './schedule.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { userLimits } from './user-limits.ts';
import { Workflow } from './workflow.ts';

const NAME_DESCRIPTION = 'The name of the workflow: 1 to 255 characters.';
const FAILURES_DESCRIPTION = 'When this many jobs in a row have failed, `onTooManyFailures` happens: 1 to 1,000.';
const ACTION_DESCRIPTION = 'What happens when too many jobs in a row have failed.';
const LOG_RETENTION_DESCRIPTION =
  'For how many days log lines are kept after their job or build ends: from 1 to LOG_RETENTION_DAYS, the setting of the installation.';

const ALERT_AFTER_DESCRIPTION = 'An incident begins when this many jobs in a row have failed: 1 to 1,000.';
const ALERT_CHANNELS_DESCRIPTION = `The ids of the alert channels that the workflow uses instead of your default ones: at most ${ALERT_CHANNELS_PER_WORKFLOW_MAX}. An empty list: it alerts nobody.`;

mutation('createWorkflow', 'WRITE', {
  description:
    'Creates a workflow, with `interval` or `schedule`. At an interval, a HEARTBEAT first runs at once, and a CONTAINER as soon as its image is ready.',
  input: (t) => ({
    name: t.string({ required: true, description: NAME_DESCRIPTION }),
    payload: t.field({ type: WorkflowPayloadInput, required: true, description: 'What the workflow runs.' }),
    interval: t.int({ description: 'The same as `schedule: { everyMinutes }`: 1 to 525,600.' }),
    schedule: t.field({ type: ScheduleInput, description: 'When the workflow runs by itself.' }),
    runPolicy: t.field({ type: RunPolicyInput, description: 'How its slots become jobs.' }),
    maxConsecutiveJobFailuresAllowed: t.int({ required: true, description: FAILURES_DESCRIPTION }),
    onTooManyFailures: t.field({
      type: TooManyFailuresActionEnum,
      description: `${ACTION_DESCRIPTION} Defaults to TERMINATE.`,
    }),
    logRetentionDays: t.int({ description: `${LOG_RETENTION_DESCRIPTION} Defaults to that setting.` }),
    alertAfterFailures: t.int({ description: `${ALERT_AFTER_DESCRIPTION} Defaults to 1.` }),
    alertChannels: t.idList({ description: `${ALERT_CHANNELS_DESCRIPTION} Left out, it uses those.` }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: { workflow: { type: Workflow, description: 'The new workflow.' } },
  resolve: async (call) => {
    const { input, viewer, context } = call;
    const { services } = context;
    const { value: payload, problems } = parsePayload(input.payload, services.settings);
    const id = newId();
    const schedule = await parseGiven(input, services.db, { id });
    const allProblems = [
      ...workflowProblems(input, services.settings),
      ...(schedule ? (schedule.problems ?? []) : [SCHEDULE_MISSING]),
      ...below(['runPolicy'], runPolicyProblems(input.runPolicy ?? {})),
      ...below(['payload'], problems ?? []),
      ...idempotencyProblems(input),
    ];
    const passed = schedule?.passed ?? [];
    if (!payload || !schedule?.value || allProblems.length > 0) return invalid([...allProblems, ...passed]);
    if (expectsPings(payload) && 'at' in schedule.value) return invalid([PUSH_ONCE]);
    const alertChannels = choiceOfChannels(input.alertChannels);
    if (alertChannels.userErrors) return refused(...alertChannels.userErrors);
    const sealed = sealPayload(services.sealer, { workflowId: id, given: payload });
    if (sealed.problems) return invalid(below(['payload'], placeProblems(input.payload, sealed.problems)));
    const { name, maxConsecutiveJobFailuresAllowed, runPolicy, onTooManyFailures } = input;
    const values = {
      id,
      userId: viewer.user.id,
      name,
      payload: sealed.value,
      schedule: schedule.value,
      runPolicy: runPolicy ? toRunPolicy(runPolicy) : null,
      maxConsecutiveJobFailuresAllowed,
      onTooManyFailures: onTooManyFailures ?? 'TERMINATE',
      logRetentionDays: input.logRetentionDays ?? null,
      ...(typeof input.alertAfterFailures === 'number' ? { alertAfterFailures: input.alertAfterFailures } : {}),
      alertChannelIds: alertChannels.ids ?? null,
      ...(expectsPings(payload) ? { pingToken: newPingToken(services.sealer, id) } : {}),
    };
    const created = await changeOnce('createWorkflow', call, {
      make: (tx) => createWorkflow(tx, values, userLimits(services.settings)),
      objectOf: ({ workflow }) => workflow.id,
      read: context.load.workflow,
      passed,
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
    interval: t.int({ description: 'The same as `schedule: { everyMinutes }`: 1 to 525,600.' }),
    schedule: t.field({
      type: ScheduleInput,
      description:
        'When the workflow runs by itself. A slot that waits is dropped; an interval counts from the last slot. Left out, or the same as before, it stays.',
    }),
    runPolicy: t.field({
      type: RunPolicyInput,
      description: 'How its slots become jobs, as a whole. Left out, it stays.',
    }),
    maxConsecutiveJobFailuresAllowed: t.int({ description: `${FAILURES_DESCRIPTION} Left out, it stays.` }),
    onTooManyFailures: t.field({
      type: TooManyFailuresActionEnum,
      description: `${ACTION_DESCRIPTION} Left out, it stays.`,
    }),
    logRetentionDays: t.int({
      description: `${LOG_RETENTION_DESCRIPTION} Left out, it stays; null returns to that setting.`,
    }),
    alertAfterFailures: t.int({ description: `${ALERT_AFTER_DESCRIPTION} Left out, it stays.` }),
    alertChannels: t.idList({
      description: `${ALERT_CHANNELS_DESCRIPTION} Left out, they stay; null returns to the default ones.`,
    }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
  }),
  payload: { workflow: { type: Workflow, description: 'The workflow after the update.' } },
  resolve: async (call) => {
    const { input, viewer, context } = call;
    const { services } = context;
    const { value: payload, problems } = input.payload ? parsePayload(input.payload, services.settings) : {};
    const stored = input.schedule ? await context.load.workflow(input.id) : undefined;
    const schedule = await parseGiven(input, services.db, { id: input.id.toLowerCase(), stored });
    const allProblems = [
      ...workflowProblems(input, services.settings),
      ...(schedule?.problems ?? []),
      ...below(['runPolicy'], runPolicyProblems(input.runPolicy ?? {})),
      ...below(['payload'], problems ?? []),
      ...idempotencyProblems(input),
    ];
    const passed = schedule?.passed ?? [];
    if (allProblems.length > 0) return invalid([...allProblems, ...passed]);
    if (!isId(input.id)) return notFound('workflow');
    const alertChannels = choiceOfChannels(input.alertChannels);
    if (alertChannels.userErrors) return refused(...alertChannels.userErrors);
    const workflowId = input.id.toLowerCase();
    const change = payload && {
      kind: payload.kind,
      from: (stored: Payload) => sealPayload(services.sealer, { workflowId, given: payload, stored }),
    };
    const changes = {
      userId: viewer.user.id,
      id: workflowId,
      ...(change ? { payload: change } : {}),
      ...(payload && expectsPings(payload) ? { pingToken: newPingToken(services.sealer, workflowId) } : {}),
      ...(typeof input.name === 'string' ? { name: input.name } : {}),
      ...(schedule?.value ? { schedule: schedule.value } : {}),
      ...(input.runPolicy ? { runPolicy: toRunPolicy(input.runPolicy) } : {}),
      ...(input.onTooManyFailures ? { onTooManyFailures: input.onTooManyFailures } : {}),
      ...(typeof input.maxConsecutiveJobFailuresAllowed === 'number'
        ? { maxConsecutiveJobFailuresAllowed: input.maxConsecutiveJobFailuresAllowed }
        : {}),
      ...(input.logRetentionDays === undefined ? {} : { logRetentionDays: input.logRetentionDays }),
      ...(typeof input.alertAfterFailures === 'number' ? { alertAfterFailures: input.alertAfterFailures } : {}),
      ...(alertChannels.ids === undefined ? {} : { alertChannelIds: alertChannels.ids }),
    };
    const changed = await changeOnce('updateWorkflow', call, {
      make: (tx) => updateWorkflow(tx, changes, userLimits(services.settings)),
      objectOf: (updated) => (updated.outcome === 'UPDATED' ? updated.workflow.id : undefined),
      read: context.load.workflow,
      nullMatters: ['logRetentionDays', 'alertChannels'],
      passed,
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
      case 'PUSH_ONCE':
        return invalid([PUSH_ONCE]);
      case 'INVALID':
        return invalid(below(['payload'], placeProblems(input.payload ?? {}, updated.problems)));
    }
    const { workflow, effects } = updated;
    void publishEffects(services, effects); // the caller does not wait for the broker
    return { workflow };
  },
});

/**
 * The schedule of an input. Undefined if it has none, or the stored one: a form may send that again
 * when its times have passed. `passed` are the problems that its times have now.
 */
async function parseGiven(
  { interval, schedule }: { interval?: number | null | undefined; schedule?: Given | null | undefined },
  db: Db,
  { id, stored }: { id: string; stored?: WorkflowRow | undefined },
): Promise<(Parsed<Schedule> & { passed?: Problem[] }) | undefined> {
  const isInterval = typeof interval === 'number';
  if (isInterval && schedule) {
    const message = 'Give interval or schedule, not both: interval is the same as schedule.everyMinutes.';
    return { problems: [{ path: ['schedule'], message }] };
  }
  if (isInterval) return { value: { everyMinutes: interval } }; // workflowProblems has judged it
  if (!schedule) return undefined;
  const { value, problems } = parseSchedule(schedule, id);
  if (!value) return { problems: below(['schedule'], problems) };
  if (stored && isDeepStrictEqual(value, scheduleOf(stored))) return undefined;
  if (!schedule.cron && !schedule.at) return { value };
  const now = new Date(await databaseClockMs(db));
  return { value, passed: below(['schedule'], timeProblems(value, now, id)) };
}

function expectsPings(payload: GivenPayload): boolean {
  return payload.kind === 'HEARTBEAT' && payload.push !== undefined;
}

/** Nothing is expected before the first ping, and afterwards the time would have passed. */
const PUSH_ONCE = {
  path: ['schedule'],
  message: 'Pings are expected again and again: with push, give everyMinutes, cron or manual, and not at.',
};

const SCHEDULE_MISSING = {
  path: ['schedule'],
  message:
    'Say when the workflow runs: schedule is one of { everyMinutes: 5 }, { cron: { expressions: ["30 2 * * *"], timeZone: "Europe/Berlin" } }, { at: "2027-01-31T12:00:00Z" } and { manual: true }.',
};

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
