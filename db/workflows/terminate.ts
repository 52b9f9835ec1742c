import { and, eq, isNull, sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { recordAudit } from '../accounts/audit.ts';
import { endIncident } from '../alerts/incidents.ts';
import type { Db } from '../client.ts';
import { cancelBuilds } from '../ends/cancel-builds.ts';
import { cancelJobs, removeRequests } from '../ends/cancel-jobs.ts';
import { pings, type WorkflowRow, workflows } from '../schema.ts';
import { lockWorkflow, type Transaction } from './workflows.ts';

type Owned = { userId: string; id: string };
type Terminated = { workflow: WorkflowRow; effects: Effects };

/**
 * Ends a workflow for good. A second call returns the same answer and changes nothing. Undefined if
 * the user has no such workflow.
 */
export function terminateWorkflow(db: Db, key: Owned): Promise<Terminated | undefined> {
  return db.transaction(async (tx) => {
    const found = await lockWorkflow(tx, key);
    return found && terminate(tx, found, 'REQUESTED');
  });
}

/**
 * Ends all workflows of a user for good, one after the other, and writes an audit event with
 * `action` for each. Returns their number.
 *
 * A command without bus and cache runs this, so it publishes no effects. Workers stop what runs
 * when they next renew its lease, and the scheduling worker ends the logs.
 */
export async function terminateWorkflowsOf(db: Db, userId: string, action: string): Promise<number> {
  const running = and(eq(workflows.userId, userId), isNull(workflows.terminatedAt));
  let count = 0;
  for (;;) {
    const found = await db.select({ id: workflows.id }).from(workflows).where(running).limit(SET_SIZE);
    if (found.length === 0) return count;
    for (const { id } of found) {
      await db.transaction(async (tx) => {
        await terminateWorkflow(tx, { userId, id });
        await recordAudit(tx, { action, outcome: 'DONE', userId, objectId: id });
      });
    }
    count += found.length;
  }
}

const SET_SIZE = 100;

/**
 * Terminates a workflow and hides it from lists; its history stays readable by id. A second call
 * changes nothing.
 *
 * With `purge`, every query hides it at once, even if it was deleted before. The sweep then removes
 * its stored data (db/workflows/purge.ts).
 */
export function deleteWorkflow(
  db: Db,
  { purge = false, ...key }: Owned & { purge?: boolean },
): Promise<Terminated | undefined> {
  return db.transaction(async (tx) => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return undefined;
    // Its token is unknown from now on.
    if (purge) await tx.delete(pings).where(eq(pings.workflowId, found.id));
    const terminated = await terminate(tx, found, 'DELETED');
    const [workflow] = await tx
      .update(workflows)
      .set({
        deletedAt: sql`coalesce(${workflows.deletedAt}, now())`,
        ...(purge ? { purgeRequestedAt: sql`now()` } : {}),
      })
      .where(eq(workflows.id, found.id))
      .returning();
    if (workflow === undefined) throw new Error('An update of a locked row returned none.');
    const changed = [{ userId: found.userId, workflows: [found.id] }];
    return { workflow, effects: mergeEffects(terminated.effects, { ...noEffects, changed }) };
  });
}

async function terminate(tx: Transaction, found: WorkflowRow, reason: 'REQUESTED' | 'DELETED'): Promise<Terminated> {
  if (found.terminatedAt !== null) return { workflow: found, effects: noEffects };
  const { id, userId } = found;
  // The schedule is locked before the jobs: from here on no job can be dispatched, requested or
  // made.
  const [schedule] = await tx.execute<{ last_job_id: string | null; skipped_run_count: number }>(sql`
    UPDATE /* terminate */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
    WHERE workflow_id = ${id} RETURNING last_job_id, skipped_run_count`);
  const requested = await removeRequests(tx, [id]);
  const jobs = await cancelJobs(tx, [...requested, ...(schedule?.last_job_id ? [schedule.last_job_id] : [])]);
  const builds = await cancelBuilds(tx, [id]);
  await endIncident(tx, id);
  const [workflow] = await tx
    .update(workflows)
    .set({
      terminatedAt: sql`now()`,
      terminationReason: reason,
      skippedRunCount: schedule?.skipped_run_count ?? 0,
      updatedAt: sql`now()`,
    })
    .where(eq(workflows.id, id))
    .returning();
  if (workflow === undefined) throw new Error('An update of a locked row returned none.');
  const changed = { ...noEffects, changed: [{ userId, workflows: [id] }], wakeScheduler: true };
  return { workflow, effects: mergeEffects(changed, jobs, builds) };
}
