import { type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, lockWorkflowsOf, SHOW_STATUS } from '../ends/builds.ts';
import { endColumns } from '../ends/columns.ts';
import { LEASE_END, type LeaseKey } from '../lease.ts';
import { rowSet, sortedById } from '../row-set.ts';

/**
 * Renews these leases. If a lease is not in `kept`, its build is lost or CANCELED, and its worker
 * must stop it.
 */
export async function renewBuildLeases(db: Db, leases: LeaseKey[]): Promise<{ kept: Set<string> }> {
  if (leases.length === 0) return { kept: new Set() };
  const rows = await db.execute<{ id: string }>(sql`
    UPDATE /* renewBuildLeases */ builds SET lease_expires_at = ${LEASE_END} ${underBuildLeases(leases)} RETURNING builds.id`);
  return { kept: new Set(rows.map((row) => row.id)) };
}

/** Whether another owner has a build under a lease that has not expired. */
export async function othersBuild(db: Db, { owner }: { owner: string }): Promise<boolean> {
  const rows = await db.execute(sql`
    SELECT /* othersBuild */ FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at > now() AND lease_owner <> ${owner} LIMIT 1`);
  return rows.length > 0;
}

/**
 * STARTED -> QUEUED, when a worker stops before the builds have ended. The builds may have printed
 * lines. The attempt does not count, unless `counted`; then a build without attempts left stays as
 * it is. `ids` are the builds that are QUEUED now.
 */
export async function releaseBuilds(
  db: Db,
  leases: LeaseKey[],
  { counted = false } = {},
): Promise<{ ids: string[]; effects: Effects }> {
  if (leases.length === 0) return { ids: [], effects: noEffects };
  const released = await db.transaction(async (tx) => {
    await lockWorkflowsOf(
      tx,
      leases.map(({ id }) => id),
    );
    return tx.execute<ChangedBuild>(sql`
      WITH /* releaseBuilds */ changed AS (
        UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + ${counted ? 0 : 1},
          ${endColumns('builds', { ends: sql`false` })}
        ${underBuildLeases(leases)} ${counted ? sql`AND ${HAS_ATTEMPTS_LEFT}` : sql``}
        RETURNING ${CHANGED_COLUMNS}
      ), shown AS (${SHOW_STATUS})
      SELECT * FROM changed`);
  });
  return { ids: released.map(({ id }) => id), effects: buildEffects(released) };
}

export const HAS_ATTEMPTS_LEFT = sql`(attempt - uncounted_attempts < ${ATTEMPTS_MAX})`;

/**
 * The end of a statement that changes the builds of these leases. It takes them in the order of
 * their ids, in which all statements lock builds.
 */
function underBuildLeases(leases: LeaseKey[]): SQL {
  return sql`FROM ${rowSet('u', sortedById(leases), { id: 'uuid', leaseToken: 'uuid' })}
    WHERE builds.id = ANY(ARRAY[u.id]) AND builds.lease_token = u.lease_token`;
}
