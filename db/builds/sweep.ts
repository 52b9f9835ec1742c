import { sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { LEASE_SECONDS, RECHECK_SECONDS } from '../../domain/limits.ts';
import { recordAlerts } from '../alerts/record.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { buildEffects, CHANGED_COLUMNS, type ChangedBuild, SHOW_STATUS } from '../ends/builds.ts';
import { cancelRequests } from '../ends/cancel-jobs.ts';
import { endColumns } from '../ends/columns.ts';
import { storedLines } from '../logs/markers.ts';
import { notificationEffects, notify } from '../notifications.ts';
import { buildFailed } from './finish.ts';
import { HAS_ATTEMPTS_LEFT } from './leases.ts';

/** The most lost builds, and the most long-waiting builds, of one sweep. */
const SWEPT_MAX = 1_000;

interface Watched {
  /** See reconcileSchedules. */
  watchedSeconds: (databaseMs: number) => number;
}

/**
 * Recovers builds that were left behind. A STARTED build whose worker is lost becomes QUEUED again,
 * or FAILED after ATTEMPTS_MAX. A build that has been QUEUED for a while without a turn goes onto
 * the bus again, because its event may be lost. So does one whose wait for the end of an outage is
 * over.
 */
export async function sweepBuilds(db: Db, watch: Watched): Promise<Effects> {
  const recovered = await recoverLost(db, watch);
  const rows = await db.execute<{ id: string }>(sql`
    SELECT /* sweepBuilds */ id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED'
      AND NOT EXISTS (SELECT FROM turns WHERE turns.id = builds.id)
      AND CASE WHEN retry_at IS NULL THEN coalesce(started_at, created_at) < now() - ${seconds(RECHECK_SECONDS)} ELSE retry_at <= now() END
      ORDER BY id LIMIT ${SWEPT_MAX}`);
  return { ...recovered, queuedBuildIds: rows.map(({ id }) => id) };
}

/**
 * After a break in which no process reached the database, workers have LEASE_SECONDS to renew their
 * leases. This asks `watchedSeconds` after it has read the expired leases, and takes only leases
 * that had expired when its transaction began. So a break at any point of the transaction shows in
 * one of the two.
 */
function recoverLost(db: Db, { watchedSeconds }: Watched): Promise<Effects> {
  return db.transaction(async (tx) => {
    const lost = await tx.execute<{ id: string; workflow_id: string; read_at_ms: number }>(sql`
      SELECT /* recoverLost */ id, workflow_id, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS read_at_ms FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at < now()
      ORDER BY id LIMIT ${SWEPT_MAX}`);
    if (lost.length === 0) return noEffects;
    if (watchedSeconds(Math.max(...lost.map((row) => row.read_at_ms))) < LEASE_SECONDS) return noEffects;
    const workflowIds = lost.map((row) => row.workflow_id);
    const ids = array(workflowIds, 'uuid');
    const buildIds = lost.map((row) => row.id);
    await tx.execute(sql`SELECT /* recoverLost */ FROM workflows WHERE id = ANY(${ids}) ORDER BY id FOR NO KEY UPDATE`);
    const schedules = await tx.execute<{ workflow_id: string; state: string }>(
      sql`SELECT /* recoverLost */ workflow_id, state FROM schedules WHERE workflow_id = ANY(${ids}) ORDER BY workflow_id FOR UPDATE`,
    );
    const goingOn = new Set(schedules.flatMap((row) => (row.state === 'READY' ? [row.workflow_id] : [])));
    const swept = await tx.execute<ChangedBuild>(sql`
      WITH /* recoverLost */ locked AS MATERIALIZED (
        SELECT id FROM builds WHERE id = ANY(${array(buildIds, 'uuid')}) AND status = 'STARTED' AND lease_expires_at < now()
        ORDER BY id FOR UPDATE
      ), changed AS (
        UPDATE builds SET status = CASE WHEN ${HAS_ATTEMPTS_LEFT} THEN 'QUEUED' ELSE 'FAILED' END,
          error = CASE WHEN ${HAS_ATTEMPTS_LEFT} THEN NULL ELSE ${LOST_MESSAGE} END,
          log_line_count = ${storedLines(sql`builds.id`)},
          ${endColumns('builds', { ends: sql`NOT ${HAS_ATTEMPTS_LEFT}`, linesMayFollow: sql`true` })}
        FROM locked WHERE builds.id = ANY(ARRAY[locked.id]) RETURNING ${CHANGED_COLUMNS}
      ), shown AS (${SHOW_STATUS})
      SELECT * FROM changed`);
    const failed = swept.filter((build) => build.status === 'FAILED');
    const failedIds = failed.map((build) => build.workflow_id);
    const canceled = await cancelRequests(
      tx,
      failedIds.filter((id) => !goingOn.has(id)),
    );
    const events = failedIds.map((id) => buildFailed(id, LOST_MESSAGE, { goesOn: goingOn.has(id) }));
    const notified = await notify(tx, events);
    await recordAlerts(tx, events);
    return mergeEffects(buildEffects(swept), canceled, notificationEffects(notified));
  });
}

const LOST_MESSAGE =
  'The worker that built it was lost, and so was each one that tried again. rebuildWorkflow builds it again.';
