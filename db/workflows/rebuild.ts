import { and, eq, sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { USER_LIMITS, type UserLimits } from '../../domain/limits.ts';
import { checkPayloads, lockUser } from '../accounts/user-limits.ts';
import type { Db } from '../client.ts';
import { pruneGenerations } from '../payloads.ts';
import { type BuildRow, builds, payloads, type WorkflowRow, workflows } from '../schema.ts';
import { lockWorkflow, presentPayload, queueBuild, type Transaction } from './workflows.ts';

export type Rebuilt =
  | { outcome: 'QUEUED' | 'UNDER_WAY'; workflow: WorkflowRow; build: BuildRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' | 'NO_IMAGE' };

/**
 * Builds the newest payload of a CONTAINER workflow again, as a new generation. The workflow goes
 * on as before until that build is COMPLETED: a READY schedule stays READY with the generation that
 * it has, and a BLOCKED one, or none, stays as it is.
 *
 * A build that waits or runs is the one that was asked for, so a repeated call changes nothing. If
 * it waits out an outage, it is tried at once. Throws LimitExceeded if the user already has as much
 * as the limits allow.
 */
export async function rebuildWorkflow(
  db: Db,
  { userId, id }: { userId: string; id: string },
  limits: UserLimits = USER_LIMITS,
): Promise<Rebuilt> {
  return db.transaction(async (tx): Promise<Rebuilt> => {
    await lockUser(tx, userId);
    const found = await lockWorkflow(tx, { userId, id });
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    if (found.kind !== 'CONTAINER') return { outcome: 'NO_IMAGE' };
    if (found.buildStatus === 'QUEUED' || found.buildStatus === 'STARTED') return tryNow(tx, found);

    const generation = found.generation + 1;
    const payload = await presentPayload(tx, found);
    // No job is made with a generation that is removed here.
    await tx.execute(sql`SELECT /* rebuildWorkflow */ FROM schedules WHERE workflow_id = ${id} FOR UPDATE`);
    const [workflow] = await tx
      .update(workflows)
      .set({ generation, buildStatus: 'QUEUED', updatedAt: sql`now()` })
      .where(eq(workflows.id, id))
      .returning();
    if (workflow === undefined) throw new Error('An update of a locked row returned none.');
    await pruneGenerations(tx, { workflowId: id, generation });
    await tx.insert(payloads).values({ workflowId: id, generation, payload });
    await checkPayloads(tx, { userId, workflowId: id }, limits);
    const { effects } = await queueBuild(tx, workflow, limits);
    const changed = { ...noEffects, changed: [{ userId, workflows: [id] }] };
    return {
      outcome: 'QUEUED',
      workflow,
      build: await buildOf(tx, workflow),
      effects: mergeEffects(changed, effects),
    };
  });
}

/** Makes a build due that waits out an outage. */
async function tryNow(tx: Transaction, workflow: WorkflowRow): Promise<Rebuilt> {
  const { id, userId, generation } = workflow;
  const due = await tx.execute<{ id: string }>(sql`
    UPDATE /* tryNow */ builds SET retry_at = now()
    WHERE workflow_id = ${id} AND generation = ${generation} AND status = 'QUEUED' AND retry_at > now() RETURNING id`);
  const ids = due.map((row) => row.id);
  const changed = ids.length === 0 ? [] : [{ userId, builds: ids, workflows: [id] }];
  const effects = { ...noEffects, changed, queuedBuildIds: ids };
  return { outcome: 'UNDER_WAY', workflow, build: await buildOf(tx, workflow), effects };
}

async function buildOf(tx: Transaction, { id, generation }: WorkflowRow): Promise<BuildRow> {
  const [build] = await tx
    .select()
    .from(builds)
    .where(and(eq(builds.workflowId, id), eq(builds.generation, generation)));
  if (build === undefined) throw new Error(`The generation ${generation} of the workflow ${id} has no build.`);
  return build;
}
