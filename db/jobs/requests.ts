import { sql } from 'drizzle-orm';
import { countEnded } from '../analytics.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

/**
 * Jobs of these workflows that still ask to be run are CANCELED: their workflow is terminated, or its newest build has FAILED, and
 * nothing would ever hand them out. Under the locks of the schedules, so that none is asked for or handed out meanwhile.
 */
export async function cancelRequests(
  tx: Pick<Db, 'execute'>,
  workflowIds: string[],
): Promise<{ id: string; userId: string }[]> {
  if (workflowIds.length === 0) return [];
  const canceled = await tx.execute<{ id: string; user_id: string }>(sql`
    WITH /* cancelRequests */ gone AS (
      DELETE FROM run_requests WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) RETURNING job_id
    ), locked AS MATERIALIZED (
      SELECT id FROM jobs WHERE id = ANY(ARRAY(SELECT job_id FROM gone)) AND status = 'PENDING' ORDER BY id FOR UPDATE
    )
    UPDATE jobs SET status = 'CANCELED', completed_at = now(), updated_at = now()
    FROM locked WHERE jobs.id = locked.id RETURNING jobs.id, user_id`);
  await countEnded(
    tx,
    canceled.map((row) => row.id),
  );
  return canceled.map((row) => ({ id: row.id, userId: row.user_id }));
}
