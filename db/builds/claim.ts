import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { newId } from '../../domain/ids.ts';
import type { ContainerPayload } from '../../domain/payload/payload.ts';
import { instant } from '../../platform/async/instant.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, lockWorkflowsOf, SHOW_STATUS } from '../ends/builds.ts';
import { LEASE_END, type Lease } from '../lease.ts';
import { HAS_ATTEMPTS_LEFT } from './leases.ts';

export interface ClaimedBuild extends Lease {
  workflowId: string;
  userId: string;
  generation: number;
  /** The number of the attempt. It is unique within the build. */
  attempt: number;
  /**
   * The lines of earlier attempts; undefined until their number is settled (db/logs/markers.ts).
   */
  linesBefore: number | undefined;
  /** No attempt that counts is left after this one. */
  isLast: boolean;
  /** How often the build has waited out an outage. */
  waits: number;
  payload: ContainerPayload;
}

/**
 * QUEUED -> STARTED under a new lease. Leaves out builds that were canceled meanwhile, that another
 * worker has, or that wait out an outage.
 */
export async function claimBuilds(
  db: Db,
  ids: string[],
  { owner }: { owner: string },
): Promise<{ claimed: ClaimedBuild[]; effects: Effects }> {
  if (ids.length === 0) return { claimed: [], effects: noEffects };
  const lease = { leaseToken: newId(), askedAt: instant() };
  const rows = await db.transaction(async (tx) => {
    await lockWorkflowsOf(tx, ids);
    return tx.execute<
      ChangedBuild & {
        attempt: number;
        lines: number | null;
        waits: number;
        is_last: boolean;
        payload: ContainerPayload;
      }
    >(sql`
      WITH /* claimBuilds */ free AS (
        SELECT id FROM builds WHERE id = ANY(${array(ids, 'uuid')}) AND status = 'QUEUED' AND (retry_at IS NULL OR retry_at <= now())
        ORDER BY id FOR UPDATE SKIP LOCKED
      ), changed AS (
        UPDATE builds SET status = 'STARTED', attempt = attempt + 1, started_at = now(), retry_at = NULL,
          waits_for = NULL, awaits_engine = false,
          lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END}
        FROM free WHERE builds.id = ANY(ARRAY[free.id])
        RETURNING ${CHANGED_COLUMNS}, attempt, waits, NOT ${HAS_ATTEMPTS_LEFT} AS is_last,
          CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines
      ), shown AS (${SHOW_STATUS})
      SELECT changed.*, payloads.payload FROM changed
        JOIN payloads ON payloads.workflow_id = ANY(ARRAY[changed.workflow_id]) AND payloads.generation = changed.generation`);
  });
  const claimed = rows.map((row) => ({
    id: row.id,
    workflowId: row.workflow_id,
    userId: row.user_id,
    generation: row.generation,
    attempt: row.attempt,
    linesBefore: row.lines ?? undefined,
    isLast: row.is_last,
    waits: row.waits,
    ...lease,
    payload: row.payload,
  }));
  return { claimed, effects: buildEffects(rows) };
}
