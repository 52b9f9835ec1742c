import { and, eq, sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { endColumns } from '../ends.ts';
import { isKept } from '../lookup.ts';
import { type JobRow, jobs } from '../schema.ts';
import { wakeWaiting } from './dispatch.ts';
import { CHANGED_COLUMNS, type ChangedJob, COUNT_CHANGED, jobEffects } from './ends.ts';

export type JobCanceled =
  | { outcome: 'CANCELED' | 'STOPPING'; job: JobRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'ENDED' };

/**
 * PENDING, QUEUED -> CANCELED at once. A RUNNING job is marked: its worker stops it, then it is
 * CANCELED.
 */
export async function cancelJob(db: Db, { userId, id }: { userId: string; id: string }): Promise<JobCanceled> {
  const canceled = await db.transaction(async (tx): Promise<JobCanceled> => {
    const [found] = await tx
      .select({ workflowId: jobs.workflowId })
      .from(jobs)
      .where(and(eq(jobs.id, id), eq(jobs.userId, userId), isKept(jobs.workflowId)));
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    await tx.execute(sql`SELECT /* cancelJob */ FROM schedules WHERE workflow_id = ${found.workflowId} FOR UPDATE`); // before the job's lock
    const effects = await cancelJobs(tx, [id]);
    if (effects.changed.length === 0) return { outcome: 'ENDED' };
    await tx.execute(sql`DELETE /* cancelJob */ FROM run_requests WHERE job_id = ${id}`);
    const [job] = await tx.select().from(jobs).where(eq(jobs.id, id));
    if (job === undefined) throw new Error('A job that is locked was not found.');
    return { outcome: job.status === 'RUNNING' ? 'STOPPING' : 'CANCELED', job, effects };
  });
  if (canceled.outcome !== 'CANCELED') return canceled;
  const wakeScheduler = (await wakeWaiting(db, [canceled.job.workflowId])) > 0;
  return { ...canceled, effects: mergeEffects(canceled.effects, { ...noEffects, wakeScheduler }) };
}

/**
 * Cancels the requested jobs of these workflows, which nothing would ever dispatch: a workflow is
 * terminated, or its newest build has FAILED. The caller holds the locks of the schedules, so that
 * none is requested or dispatched meanwhile.
 */
export async function cancelRequests(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<Effects> {
  return cancelJobs(tx, await removeRequests(tx, workflowIds));
}

/** Removes the requests of these workflows. The ids of their jobs, which are PENDING. */
export async function removeRequests(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<string[]> {
  if (workflowIds.length === 0) return [];
  const rows = await tx.execute<{ id: string }>(sql`
    DELETE /* removeRequests */ FROM run_requests WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) RETURNING job_id AS id`);
  return rows.map(({ id }) => id);
}

/**
 * Cancels those of these jobs that have not ended, in the same way for one job, for a workflow and
 * for requests. The caller holds the locks of their schedules.
 */
export async function cancelJobs(tx: Pick<Db, 'execute'>, ids: string[]): Promise<Effects> {
  if (ids.length === 0) return noEffects;
  const isRunning = sql`jobs.status = 'RUNNING'`;
  const canceled = await tx.execute<ChangedJob>(sql`
    WITH /* cancelJobs */ locked AS MATERIALIZED (
      SELECT id FROM jobs WHERE id = ANY(${array(ids, 'uuid')}) AND completed_at IS NULL ORDER BY id FOR UPDATE
    ), changed AS (
      UPDATE jobs SET status = CASE WHEN ${isRunning} THEN 'RUNNING' ELSE 'CANCELED' END, updated_at = now(),
        cancel_requested_at = CASE WHEN ${isRunning} THEN coalesce(cancel_requested_at, now()) END,
        ${endColumns('jobs', { ends: sql`jobs.status <> 'RUNNING'`, keepsLease: isRunning, linesMayFollow: sql`attempt > 0` })}
      FROM locked WHERE jobs.id = locked.id RETURNING ${CHANGED_COLUMNS}
    ), ${COUNT_CHANGED}
    SELECT * FROM changed`);
  const jobIds = canceled.filter((job) => job.status === 'RUNNING').map(({ id }) => id);
  return { ...jobEffects(canceled), stopping: { jobIds, buildIds: [] } };
}
