import { type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf } from '../job-days.ts';
import { endColumns } from './columns.ts';
import { CHANGED_COLUMNS, type ChangedJob, COUNT_CHANGED, jobEffects } from './jobs.ts';

/**
 * Cancels the requested jobs of these workflows. They would never be dispatched: the workflow is
 * terminated, or its newest build has FAILED. The caller holds the locks of the schedules, so that
 * no job is requested or dispatched meanwhile.
 */
export async function cancelRequests(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<Effects> {
  return cancelJobs(tx, await removeRequests(tx, workflowIds));
}

/** Removes the requests of these workflows and returns the ids of their jobs, which are PENDING. */
export async function removeRequests(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<string[]> {
  if (workflowIds.length === 0) return [];
  const rows = await tx.execute<{ id: string }>(sql`
    DELETE /* removeRequests */ FROM run_requests WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) RETURNING job_id AS id`);
  return rows.map(({ id }) => id);
}

/**
 * Cancels the unfinished ones of these jobs: of one job, of a workflow, or of requests. The caller
 * holds the locks of their schedules. `because` is a sentence for the owner who did not ask for it.
 * The first request says why: a job that is being stopped keeps its sentence. The failure of an
 * attempt before is no reason.
 */
export async function cancelJobs(tx: Pick<Db, 'execute'>, ids: string[], because?: string): Promise<Effects> {
  if (ids.length === 0) return noEffects;
  const isRunning = sql`jobs.status = 'RUNNING'`;
  const cancel = (jobs: SQL, ofDay: string[]) =>
    tx.execute<ChangedJob>(sql`
    WITH /* cancelJobs */ locked AS MATERIALIZED (
      SELECT id FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')}) AND completed_at IS NULL ORDER BY id FOR UPDATE
    ), changed AS (
      UPDATE ${jobs} SET status = CASE WHEN ${isRunning} THEN 'RUNNING' ELSE 'CANCELED' END, updated_at = now(),
        failure_message = CASE WHEN cancel_requested_at IS NULL THEN ${because ?? null} ELSE jobs.failure_message END,
        cancel_requested_at = CASE WHEN ${isRunning} THEN coalesce(cancel_requested_at, now()) END,
        ${endColumns('jobs', { ends: sql`jobs.status <> 'RUNNING'`, keepsLease: isRunning, linesMayFollow: sql`attempt > 0` })}
      FROM locked WHERE jobs.id = ANY(ARRAY[locked.id]) RETURNING ${CHANGED_COLUMNS}
    ), ${COUNT_CHANGED}
    SELECT * FROM changed`);
  const canceled = await eachDayOf(tx, ids, cancel);
  const jobIds = canceled.filter((job) => job.status === 'RUNNING').map(({ id }) => id);
  return { ...jobEffects(canceled), stopping: { jobIds, buildIds: [] } };
}
