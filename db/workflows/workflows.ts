import { and, eq, isNull, sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { newId } from '../../domain/ids.ts';
import { USER_LIMITS, type UserLimits } from '../../domain/limits.ts';
import type { Payload } from '../../domain/payload/payload.ts';
import type { Parsed, Problem } from '../../domain/problem.ts';
import type { RunPolicy, TooManyFailuresAction } from '../../domain/schedule/run-policy.ts';
import type { Schedule } from '../../domain/schedule/schedule.ts';
import type { WorkflowKind } from '../../domain/states.ts';
import { checkBuilds, checkPayloads, checkWorkflows, lockUser } from '../accounts/user-limits.ts';
import { chooseAlertChannels } from '../alerts/workflow-channels.ts';
import type { Db } from '../client.ts';
import { cancelBuilds } from '../ends/cancel-builds.ts';
import { NEW_ID } from '../ids.ts';
import { pruneGenerations } from '../payloads.ts';
import { builds, payloads, schedules, type WorkflowRow, workflows } from '../schema.ts';
import { reserveVolumes } from '../volumes.ts';
import { changePush, changePushSchedule, insertPings, lockPings, type PingToken, pushIn } from './push.ts';
import {
  changePolicy,
  changeSchedule,
  isSameSchedule,
  policyColumns,
  scheduleOf,
  storedSchedule,
  timingOf,
} from './schedule.ts';

/**
 * A transaction that locks rows of several of these tables locks them in the order users,
 * workflows, pings, schedules, jobs, builds, incidents, alert_channels.
 */
export type Transaction = Parameters<Parameters<Db['transaction']>[0]>[0];

export interface NewWorkflow {
  /** Given if a part of the payload is bound to the id. */
  id?: string;
  userId: string;
  name: string;
  payload: Payload;
  schedule: Schedule;
  runPolicy?: RunPolicy | null;
  maxConsecutiveJobFailuresAllowed: number;
  onTooManyFailures?: TooManyFailuresAction;
  logRetentionDays?: number | null;
  alertAfterFailures?: number;
  /** Ids of channels of the user, each once. Null: the default ones. */
  alertChannelIds?: string[] | null;
  /** For a payload that expects pings. */
  pingToken?: PingToken;
}

/**
 * Stores a workflow. A HEARTBEAT at an interval is due at once; a CONTAINER is due when the build
 * that this queues has COMPLETED, with the slots that its schedule has had meanwhile. A push
 * heartbeat expects nothing before its first ping. Throws LimitExceeded if the user already has as
 * much as the limits allow, and UnknownAlertChannels.
 */
export async function createWorkflow(
  db: Db,
  {
    id = newId(),
    userId,
    name,
    payload,
    schedule,
    runPolicy = null,
    maxConsecutiveJobFailuresAllowed,
    onTooManyFailures = 'TERMINATE',
    logRetentionDays,
    alertAfterFailures,
    alertChannelIds = null,
    pingToken,
  }: NewWorkflow,
  limits: UserLimits = USER_LIMITS,
): Promise<{ workflow: WorkflowRow; buildId: string | undefined; effects: Effects }> {
  const needsBuild = payload.kind === 'CONTAINER';
  return db.transaction(async (tx) => {
    await lockUser(tx, userId);
    const [workflow] = await tx
      .insert(workflows)
      .values({
        id,
        userId,
        name,
        kind: payload.kind,
        ...storedSchedule(schedule),
        runPolicy,
        maxConsecutiveJobFailuresAllowed,
        onTooManyFailures,
        logRetentionDays,
        alertAfterFailures,
        hasOwnAlertChannels: alertChannelIds !== null,
        buildStatus: needsBuild ? 'QUEUED' : 'COMPLETED',
      })
      .returning();
    if (workflow === undefined) throw new Error('An insert returned no row.');
    await checkWorkflows(tx, userId, limits);
    await tx.insert(payloads).values({ workflowId: id, generation: 1, payload });
    await reserveVolumes(tx, { userId, payload }, limits);
    await checkPayloads(tx, { userId, workflowId: id }, limits);
    if (alertChannelIds) await chooseAlertChannels(tx, { userId, workflowId: id, channelIds: alertChannelIds });
    const changed = { ...noEffects, changed: [{ userId, workflows: [id] }] };
    const isInterval = 'everyMinutes' in schedule;
    const timing = await timingOf(tx, id, schedule);
    const row = {
      workflowId: id,
      userId,
      kind: payload.kind,
      generation: 1,
      ...timing,
      ...policyColumns(id, runPolicy),
    };
    if (needsBuild) {
      // Otherwise the end of the build inserts it, as processes of earlier versions expect.
      if (!isInterval || runPolicy) await tx.insert(schedules).values({ ...row, state: 'BLOCKED' });
      const { buildId, effects } = await queueBuild(tx, workflow, limits);
      return { workflow, buildId, effects: mergeEffects(changed, effects) };
    }
    const push = pushIn(payload);
    if (push) await insertPings(tx, id, push, pingToken);
    await tx.insert(schedules).values({
      ...row,
      state: 'READY',
      ...(isInterval ? { nextRunAt: sql`now()` } : {}),
      ...(push ? { nextRunAt: null, delaySeconds: push.startGraceSeconds } : {}),
      wakeAt: sql`now()`,
    });
    return { workflow, buildId: undefined, effects: { ...changed, wakeScheduler: true } };
  });
}

export interface WorkflowChanges {
  userId: string;
  id: string;
  name?: string;
  payload?: Payload | PayloadChange;
  schedule?: Schedule;
  runPolicy?: RunPolicy;
  maxConsecutiveJobFailuresAllowed?: number;
  onTooManyFailures?: TooManyFailuresAction;
  logRetentionDays?: number | null;
  alertAfterFailures?: number;
  /** Ids of channels of the user, each once. Null: the default ones from now on. */
  alertChannelIds?: string[] | null;
  /** For a payload that expects pings, where the one before did not. */
  pingToken?: PingToken;
}

/**
 * A payload derived from the stored one, for example to keep its secrets. The stored payload is
 * locked meanwhile.
 */
export interface PayloadChange {
  kind: WorkflowKind;
  from(stored: Payload): Parsed<Payload>;
}

export type Updated =
  | { outcome: 'UPDATED'; workflow: WorkflowRow; buildId: string | undefined; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' | 'KIND_CHANGED' | 'PUSH_ONCE' }
  | { outcome: 'INVALID'; problems: Problem[] };

/**
 * Changes the given fields. A different payload makes a new generation. For a CONTAINER, its build
 * comes first: slots wait until then, and the build of the previous generation is canceled. A new
 * schedule drops a slot that waits, and a new interval counts from the last slot. A payload that is
 * the same as before changes nothing, unless its build FAILED: then it makes a new generation too,
 * which tries again, as a rebuild does (rebuild.ts). Throws LimitExceeded if the user already has
 * as much as the limits allow, and UnknownAlertChannels.
 */
export async function updateWorkflow(
  db: Db,
  { userId, id, payload, schedule, pingToken, alertChannelIds, ...changes }: WorkflowChanges,
  limits: UserLimits = USER_LIMITS,
): Promise<Updated> {
  return db.transaction(async (tx): Promise<Updated> => {
    if (payload !== undefined || alertChannelIds) await lockUser(tx, userId);
    const found = await lockWorkflow(tx, { userId, id });
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    if (payload !== undefined && payload.kind !== found.kind) return { outcome: 'KIND_CHANGED' };

    const pingsBefore = found.kind === 'HEARTBEAT' ? await lockPings(tx, id) : undefined;
    const wanted =
      payload !== undefined && 'from' in payload ? payload.from(await presentPayload(tx, found)) : undefined;
    if (wanted?.problems) return { outcome: 'INVALID', problems: wanted.problems };
    const given = wanted?.value ?? (payload !== undefined && !('from' in payload) ? payload : undefined);
    const retries = found.kind === 'CONTAINER' && found.buildStatus === 'FAILED';
    const stored = given === undefined ? 'SAME' : await comparePayload(tx, found, given);
    const next = given !== undefined && (retries || stored === 'OTHER') ? given : undefined;
    if (next === undefined && stored === 'REORDERED' && given !== undefined) await reorderPayload(tx, found, given);
    const needsBuild = next?.kind === 'CONTAINER';
    const isOther = stored === 'OTHER';
    const generation = next === undefined ? found.generation : found.generation + 1;
    const newSchedule = schedule && !isSameSchedule(schedule, found) ? schedule : undefined;
    const push = given ? pushIn(given) : pingsBefore;
    if (push && 'at' in (newSchedule ?? scheduleOf(found))) return { outcome: 'PUSH_ONCE' };
    if (newSchedule && push && pingsBefore) await changePushSchedule(tx, id, newSchedule, pingsBefore);
    else if (newSchedule) await changeSchedule(tx, found, newSchedule);
    const { runPolicy } = changes;
    if (runPolicy) await changePolicy(tx, found, { policy: runPolicy, isPush: pingsBefore !== undefined });
    await changePush(tx, found, { push, before: pingsBefore, token: pingToken, schedule: newSchedule, runPolicy });
    await tx
      .update(schedules)
      .set({
        ...(next === undefined ? {} : needsBuild ? (isOther ? { state: 'BLOCKED' } : {}) : { generation }), // until the build has ended
        wakeAt: sql`now()`, // the scheduling worker then sets the right time
      })
      .where(eq(schedules.workflowId, id));
    const canceled = next === undefined ? noEffects : await cancelBuilds(tx, [id]);
    const [workflow] = await tx
      .update(workflows)
      .set({
        ...changes,
        ...(alertChannelIds === undefined ? {} : { hasOwnAlertChannels: alertChannelIds !== null }),
        ...(newSchedule ? storedSchedule(newSchedule) : {}),
        generation,
        updatedAt: sql`now()`,
        ...(needsBuild ? { buildStatus: 'QUEUED' } : {}),
      })
      .where(eq(workflows.id, id))
      .returning();
    if (workflow === undefined) throw new Error('An update of a locked row returned none.');
    if (alertChannelIds !== undefined)
      await chooseAlertChannels(tx, { userId, workflowId: id, channelIds: alertChannelIds ?? [] });
    const changed = { ...noEffects, changed: [{ userId, workflows: [id] }], wakeScheduler: true };
    if (next === undefined) return { outcome: 'UPDATED', workflow, buildId: undefined, effects: changed };

    await pruneGenerations(tx, { workflowId: id, generation });
    await tx.insert(payloads).values({ workflowId: id, generation, payload: next });
    await reserveVolumes(tx, { userId, payload: next }, limits);
    await checkPayloads(tx, { userId, workflowId: id }, limits);
    const queued = needsBuild ? await queueBuild(tx, workflow, limits) : { buildId: undefined, effects: noEffects };
    const effects = mergeEffects(changed, canceled, queued.effects);
    return { outcome: 'UPDATED', workflow, buildId: queued.buildId, effects };
  });
}

/** The workflow with its row locked, if it belongs to this user and is not being purged. */
export async function lockWorkflow(
  tx: Transaction,
  { userId, id }: { userId: string; id: string },
): Promise<WorkflowRow | undefined> {
  const [row] = await tx
    .select()
    .from(workflows)
    .where(and(eq(workflows.id, id), eq(workflows.userId, userId), isNull(workflows.purgeRequestedAt)))
    .for('no key update');
  return row;
}

/** The payload of the newest generation. */
export async function presentPayload(tx: Transaction, { id, generation }: WorkflowRow): Promise<Payload> {
  const [row] = await tx
    .select({ payload: payloads.payload })
    .from(payloads)
    .where(and(eq(payloads.workflowId, id), eq(payloads.generation, generation)));
  if (row === undefined)
    throw new Error(`The payload of generation ${generation} of the workflow ${id} is not stored.`);
  return row.payload;
}

/**
 * How a payload compares with the current one. REORDERED: equal except for the order of its names.
 */
async function comparePayload(
  tx: Transaction,
  { id, generation }: WorkflowRow,
  payload: Payload,
): Promise<'SAME' | 'REORDERED' | 'OTHER'> {
  const given = sql`${JSON.stringify(payload)}::jsonb`;
  const [row] = await tx
    .select({
      isSame: sql<boolean>`${payloads.payload} = ${given}`,
      isReordered: sql<boolean>`${payloads.payload} - 'order' = ${given} - 'order'`,
    })
    .from(payloads)
    .where(and(eq(payloads.workflowId, id), eq(payloads.generation, generation)));
  if (row?.isSame) return 'SAME';
  return row?.isReordered ? 'REORDERED' : 'OTHER';
}

/**
 * The order of names only matters for display. A generation that has run takes the new order, and
 * nothing is built again.
 */
async function reorderPayload(tx: Transaction, { id, generation }: WorkflowRow, payload: Payload): Promise<void> {
  await tx
    .update(payloads)
    .set({ payload })
    .where(and(eq(payloads.workflowId, id), eq(payloads.generation, generation)));
}

/** Queues the build of the newest generation. */
export async function queueBuild(
  tx: Transaction,
  { id, userId, generation }: WorkflowRow,
  limits: UserLimits,
): Promise<{ buildId: string; effects: Effects }> {
  const [build] = await tx
    .insert(builds)
    .values({ id: NEW_ID, workflowId: id, userId, generation, status: 'QUEUED' })
    .returning({ id: builds.id });
  if (build === undefined) throw new Error('An insert returned no row.');
  await checkBuilds(tx, userId, limits);
  const changed = [{ userId, builds: [build.id] }];
  return { buildId: build.id, effects: { ...noEffects, changed, queuedBuildIds: [build.id] } };
}
