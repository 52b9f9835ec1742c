import { and, eq, isNull, sql } from 'drizzle-orm';
import { recordAudit } from '../accounts/audit.ts';
import { countEnded } from '../analytics.ts';
import type { Db } from '../client.ts';
import { type WorkflowRow, workflows } from '../schema.ts';
import { cancelBuilds, lockWorkflow, type Transaction } from './workflows.ts';

export interface Terminated {
  workflow: WorkflowRow;
  /** PENDING and QUEUED jobs, which are CANCELED. */
  canceledJobIds: string[];
  /** RUNNING jobs and builds: their workers are to stop them. */
  stoppingIds: string[];
}

type Owned = { userId: string; id: string };

/** Ends a workflow for good. A second time gives the same answer and changes nothing. Undefined: there is none of this user. */
export function terminateWorkflow(db: Db, key: Owned): Promise<Terminated | undefined> {
  return db.transaction(async (tx) => {
    const found = await lockWorkflow(tx, key);
    return found && terminate(tx, found, 'REQUESTED');
  });
}

/**
 * Ends all workflows of a user for good, one after the other, each with a row of `action` in the audit, and gives how many. Workers stop what runs
 * at the next renewal of its lease.
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
 * Terminates, and hides from lists; the history stays readable by id. A second time changes nothing. With `purge` the workflow is gone
 * from every query at once, also one that was deleted before, and the sweep removes what is stored of it (db/workflows/purge.ts).
 */
export function deleteWorkflow(
  db: Db,
  { purge = false, ...key }: Owned & { purge?: boolean },
): Promise<Terminated | undefined> {
  return db.transaction(async (tx) => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return undefined;
    const terminated = await terminate(tx, found, 'DELETED');
    const [workflow] = await tx
      .update(workflows)
      .set({
        deletedAt: sql`coalesce(${workflows.deletedAt}, now())`,
        ...(purge ? { purgeRequestedAt: sql`now()` } : {}),
      })
      .where(eq(workflows.id, found.id))
      .returning();
    return workflow && { ...terminated, workflow };
  });
}

async function terminate(tx: Transaction, found: WorkflowRow, reason: 'REQUESTED' | 'DELETED'): Promise<Terminated> {
  if (found.terminatedAt !== null) return { workflow: found, canceledJobIds: [], stoppingIds: [] };
  // The schedule's lock comes before the jobs': no job can be handed out, asked for or made from here on.
  const [schedule] = await tx.execute<{ last_job_id: string | null }>(sql`
    UPDATE /* terminate */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
    WHERE workflow_id = ${found.id} RETURNING last_job_id`);
  const jobs = await tx.execute<{ id: string; status: string }>(sql`
    WITH /* terminate */ requested AS (
      DELETE FROM run_requests WHERE workflow_id = ${found.id} RETURNING job_id
    ), locked AS MATERIALIZED (
      SELECT id FROM jobs
      WHERE id = ANY(ARRAY(SELECT job_id FROM requested UNION ALL SELECT ${schedule?.last_job_id ?? null}::uuid)) -- as OR: all jobs are read
        AND completed_at IS NULL
      ORDER BY id FOR UPDATE
    )
    UPDATE jobs SET updated_at = now(),
      status = CASE WHEN jobs.status = 'RUNNING' THEN 'RUNNING' ELSE 'CANCELED' END,
      completed_at = CASE WHEN jobs.status = 'RUNNING' THEN NULL ELSE now() END,
      cancel_requested_at = CASE WHEN jobs.status = 'RUNNING' THEN coalesce(cancel_requested_at, now()) END,
      log_open = jobs.status <> 'RUNNING' AND attempt > 0
    FROM locked WHERE jobs.id = locked.id RETURNING jobs.id, status`);
  const of = (status: string) => jobs.filter((job) => job.status === status).map((job) => job.id);
  await countEnded(tx, of('CANCELED'));
  const canceledBuildIds = await cancelBuilds(tx, found.id);
  const [workflow] = await tx
    .update(workflows)
    .set({
      terminatedAt: sql`now()`,
      terminationReason: reason,
      updatedAt: sql`now()`,
      ...(canceledBuildIds.length > 0 ? { buildStatus: 'CANCELED' } : {}),
    })
    .where(eq(workflows.id, found.id))
    .returning();
  if (workflow === undefined) throw new Error('An update of a locked row returned none.');
  return { workflow, canceledJobIds: of('CANCELED'), stoppingIds: [...of('RUNNING'), ...canceledBuildIds] };
}
