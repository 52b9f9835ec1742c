import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { rowSet } from '../row-set.ts';
import { type Alerting, recordAlerts } from './record.ts';

/**
 * Incidents: the failures in a row of a workflow from `alert_after_failures` on. Every statement
 * here runs under the lock of its workflow, so that at most one is open at a time.
 */

type Tx = Pick<Db, 'execute'>;

export interface Resolved {
  workflowId: string;
  incidentId: string;
  /** Whether its beginning was alerted. */
  isAlerted: boolean;
}

/** Ends the open incidents of these workflows. The locks of the workflows are held. */
export async function resolveIncidents(
  tx: Tx,
  workflowIds: string[],
  resolution: 'RECOVERED' | 'TERMINATED',
): Promise<Resolved[]> {
  if (workflowIds.length === 0) return [];
  const rows = await tx.execute<{ id: string; workflow_id: string; alerted: boolean }>(sql`
    UPDATE /* resolveIncidents */ incidents SET resolved_at = now(), resolution = ${resolution}
    WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND resolved_at IS NULL
    RETURNING id, workflow_id, alerted_at IS NOT NULL AS alerted`);
  return rows.map((row) => ({ workflowId: row.workflow_id, incidentId: row.id, isAlerted: row.alerted }));
}

export interface CountedFailure {
  workflowId: string;
  userId: string;
  jobId: string;
  /** In a row, with this one. */
  failures: number;
  /** They are as many as make an incident. */
  isIncident: boolean;
  isMuted: boolean;
  /** It was the last one that the workflow allows. */
  isTerminated: boolean;
}

export interface FailedIncident {
  workflowId: string;
  incidentId: string;
  isNew: boolean;
  isAlerted: boolean;
}

/**
 * Counts failures in the open incidents of their workflows, and opens one where there is none and
 * the failures are as many. It ends those of workflows that are terminated by it. The locks of the
 * workflows are held.
 */
export async function countInIncidents(tx: Tx, failures: CountedFailure[]): Promise<FailedIncident[]> {
  if (failures.length === 0) return [];
  const rows = await tx.execute<{ id: string; workflow_id: string; is_new: boolean; alerted: boolean }>(sql`
    WITH /* countInIncidents */ u AS MATERIALIZED (
      SELECT * FROM ${rowSet('u', failures, {
        workflowId: 'uuid',
        userId: 'uuid',
        jobId: 'uuid',
        failures: 'integer',
        isIncident: 'boolean',
        isMuted: 'boolean',
        isTerminated: 'boolean',
      })}
    ), seen AS MATERIALIZED (
      SELECT u.*, open.id FROM u LEFT JOIN LATERAL (
        SELECT id FROM incidents WHERE workflow_id = u.workflow_id AND resolved_at IS NULL LIMIT 1) open ON true
    ), counted AS (
      UPDATE incidents SET failures = incidents.failures + 1, resolved_at = CASE WHEN is_terminated THEN now() END,
        resolution = CASE WHEN is_terminated THEN 'TERMINATED' END
      FROM seen WHERE incidents.id = ANY(ARRAY[seen.id])
      RETURNING incidents.id, incidents.workflow_id, alerted_at
    ), opened AS (
      INSERT INTO incidents (id, workflow_id, user_id, job_id, alerted_at, failures, resolved_at, resolution)
      SELECT ${NEW_ID}, workflow_id, user_id, job_id, CASE WHEN NOT is_muted THEN now() END, failures,
        CASE WHEN is_terminated THEN now() END, CASE WHEN is_terminated THEN 'TERMINATED' END
      FROM seen WHERE is_incident AND id IS NULL
      RETURNING id, workflow_id, alerted_at
    )
    SELECT id, workflow_id, false AS is_new, alerted_at IS NOT NULL AS alerted FROM counted
    UNION ALL SELECT id, workflow_id, true, alerted_at IS NOT NULL FROM opened`);
  return rows.map((row) => ({
    workflowId: row.workflow_id,
    incidentId: row.id,
    isNew: row.is_new,
    isAlerted: row.alerted,
  }));
}

/**
 * Alerts the incidents that opened while their workflows were muted, once these are muted no more.
 * Returns their number: if it is `limit`, there may be more. Skips workflows that another
 * transaction has locked; a later call finds them.
 */
export async function alertUnmuted(db: Db, { limit }: { limit: number }): Promise<number> {
  return db.transaction(async (tx) => {
    const found = await tx.execute<{ id: string }>(sql`
      SELECT /* alertUnmuted */ w.id FROM incidents i JOIN workflows w ON w.id = ANY(ARRAY[i.workflow_id])
      WHERE i.resolved_at IS NULL AND i.alerted_at IS NULL AND (w.muted_until > now()) IS NOT TRUE
      ORDER BY w.id LIMIT ${limit} FOR NO KEY UPDATE OF w SKIP LOCKED`);
    if (found.length === 0) return 0;
    const ids = found.map(({ id }) => id);
    // The locks may be newer than the snapshot that found them.
    const due = await tx.execute<{ id: string; workflow_id: string; job_id: string }>(sql`
      UPDATE /* alertUnmuted */ incidents SET alerted_at = now() FROM workflows w
      WHERE incidents.workflow_id = ANY(${array(ids, 'uuid')}) AND w.id = ANY(ARRAY[incidents.workflow_id])
        AND incidents.resolved_at IS NULL AND incidents.alerted_at IS NULL AND (w.muted_until > now()) IS NOT TRUE
      RETURNING incidents.id, incidents.workflow_id, incidents.job_id`);
    const events = due.map(
      (row): Alerting => ({
        event: 'WORKFLOW_FAILING',
        workflowId: row.workflow_id,
        jobId: row.job_id,
        incidentId: row.id,
        detail: 'It began to fail while it was muted, and has not recovered.',
      }),
    );
    await recordAlerts(tx, events);
    return due.length;
  });
}

/** Ends the incident of a workflow that its owner terminates. The lock of the workflow is held. */
export async function endIncident(tx: Tx, workflowId: string): Promise<void> {
  const resolved = await resolveIncidents(tx, [workflowId], 'TERMINATED');
  const alerted = resolved.filter(({ isAlerted }) => isAlerted);
  await recordAlerts(
    tx,
    alerted.map(({ incidentId }) => ({
      event: 'WORKFLOW_TERMINATED',
      workflowId,
      incidentId,
      detail: 'Its owner terminated it.',
      endsAlerted: true,
    })),
  );
}
