import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, SHOW_STATUS } from './builds.ts';
import { endColumns } from './columns.ts';

/**
 * QUEUED, STARTED -> CANCELED for all unfinished builds of these workflows. The worker of a STARTED
 * build finds its lease gone and stops the build. The caller holds the locks of the workflows.
 */
export async function cancelBuilds(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<Effects> {
  if (workflowIds.length === 0) return noEffects;
  const canceled = await tx.execute<ChangedBuild>(sql`
    WITH /* cancelBuilds */ locked AS MATERIALIZED (
      SELECT id FROM builds WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND completed_at IS NULL
      ORDER BY id FOR UPDATE
    ), changed AS (
      UPDATE builds SET status = 'CANCELED', retry_at = NULL, waits_for = NULL, ${endColumns('builds', { linesMayFollow: sql`started_at IS NOT NULL` })}
      FROM locked WHERE builds.id = ANY(ARRAY[locked.id]) RETURNING ${CHANGED_COLUMNS}
    ), shown AS (${SHOW_STATUS})
    SELECT * FROM changed`);
  return buildEffects(canceled);
}
