import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, lockWorkflowsOf, SHOW_STATUS } from '../ends/builds.ts';
import { endColumns } from '../ends/columns.ts';
import type { LeaseKey } from '../lease.ts';
import { HAS_ATTEMPTS_LEFT } from './leases.ts';

export interface Postponed {
  /** How long until the next attempt. */
  waitSeconds: number;
  /** The sentence about the outage. */
  waitsFor: string;
  /** The outage is one of the engine. */
  awaitsEngine: boolean;
  /** The attempt counts, as the build may have caused the outage. */
  counted: boolean;
}

/**
 * STARTED -> QUEUED until an outage may be over. Nobody claims the build before `waitSeconds` have
 * passed. Undefined when the lease is lost, or when this was the last attempt that counts: the row
 * is then as it was.
 *
 *   update, terminate, delete  cancel the QUEUED build as any other
 *   rebuildWorkflow            makes it due (db/workflows/rebuild.ts)
 *   the worker ends            the sweep finds the build when it is due (sweep.ts)
 */
export async function postponeBuild(
  db: Db,
  lease: LeaseKey,
  { waitSeconds, waitsFor, awaitsEngine, counted }: Postponed,
): Promise<Effects | undefined> {
  const postponed = await db.transaction(async (tx) => {
    await lockWorkflowsOf(tx, [lease.id]);
    return tx.execute<ChangedBuild>(sql`
      WITH /* postponeBuild */ changed AS (
        UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + ${counted ? 0 : 1},
          retry_at = now() + ${seconds(waitSeconds)}, waits = waits + 1, waits_for = ${waitsFor}, awaits_engine = ${awaitsEngine},
          ${endColumns('builds', { ends: sql`false` })}
        WHERE id = ${lease.id} AND lease_token = ${lease.leaseToken} ${counted ? sql`AND ${HAS_ATTEMPTS_LEFT}` : sql``}
        RETURNING ${CHANGED_COLUMNS}
      ), shown AS (${SHOW_STATUS})
      SELECT * FROM changed`);
  });
  return postponed.length === 0 ? undefined : buildEffects(postponed);
}

/** The most builds that one call makes due. The sweep finds the others by their time. */
const DUE_MAX = 1_000;

/** Makes the builds due that wait for an engine. Call it when an engine is back. */
export async function endWaitsForEngine(db: Db): Promise<Effects> {
  const due = await db.execute<{ id: string; workflow_id: string; user_id: string }>(sql`
    WITH /* endWaitsForEngine */ waiting AS MATERIALIZED (
      SELECT id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED' AND awaits_engine AND retry_at > now()
      ORDER BY id LIMIT ${DUE_MAX} FOR UPDATE SKIP LOCKED
    )
    UPDATE builds SET retry_at = now() FROM waiting WHERE builds.id = ANY(ARRAY[waiting.id])
    RETURNING builds.id, builds.workflow_id, builds.user_id`);
  const changed = due.map((row) => ({ userId: row.user_id, builds: [row.id], workflows: [row.workflow_id] }));
  return { ...noEffects, changed, queuedBuildIds: due.map(({ id }) => id) };
}
