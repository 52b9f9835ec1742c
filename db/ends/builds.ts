import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import type { BuildStatus } from '../../domain/states.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

/**
 * The columns that a statement returns of each build it changes: enough to update its workflow and
 * to publish the change.
 */
export const CHANGED_COLUMNS = sql`builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status, builds.error,
      builds.log_open`;

export type ChangedBuild = {
  id: string;
  workflow_id: string;
  user_id: string;
  generation: number;
  status: BuildStatus;
  error: string | null;
  log_open: boolean;
};

/**
 * Copies the status of the builds in the CTE `changed` to their workflows, if they build the newest
 * generation. The caller has locked the workflows.
 */
export const SHOW_STATUS = sql`
  UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
  WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation`;

/**
 * The effects of a change of these builds. A canceled build may still run; its worker must stop it.
 */
export function buildEffects(
  builds: readonly Pick<ChangedBuild, 'id' | 'workflow_id' | 'user_id' | 'status' | 'log_open'>[],
): Effects {
  return {
    ...noEffects,
    changed: builds.map(({ id, workflow_id: workflowId, user_id: userId }) => ({
      userId,
      builds: [id],
      workflows: [workflowId],
    })),
    stopping: { jobIds: [], buildIds: builds.filter(({ status }) => status === 'CANCELED').map(({ id }) => id) },
    logEnds: builds.filter((build) => build.log_open).map(({ id }) => id),
  };
}

/**
 * Locks the workflows of these builds. Callers do this before they lock the builds, because an
 * update and the end of a workflow lock in this order too.
 */
export async function lockWorkflowsOf(tx: Pick<Db, 'execute'>, buildIds: string[]): Promise<void> {
  await tx.execute(sql`
    SELECT /* lockWorkflowsOf */ FROM workflows WHERE id = ANY(ARRAY(SELECT workflow_id FROM builds WHERE id = ANY(${array(buildIds, 'uuid')})))
    ORDER BY id FOR NO KEY UPDATE`);
}
