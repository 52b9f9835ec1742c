import { type SQL, sql } from 'drizzle-orm';
import { newId } from '../../domain/ids.ts';
import { ATTEMPTS_MAX, LEASE_SECONDS, RECHECK_SECONDS } from '../../domain/limits.ts';
import type { ContainerPayload } from '../../domain/payload/payload.ts';
import { instant } from '../../platform/async/instant.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { type Held, LEASE_END, type Lease } from '../jobs/claim.ts';
import { cancelRequests } from '../jobs/requests.ts';
import { storedLines } from '../logs/markers.ts';
import { type Notified, notify } from '../notifications.ts';
import { rowSet, sortedById } from '../row-set.ts';

export interface ClaimedBuild extends Lease {
  workflowId: string;
  userId: string;
  generation: number;
  /** The attempt's number. No other attempt of the build ever has it. */
  attempt: number;
  /** Lines of earlier attempts; undefined while that is not settled (db/logs/markers.ts). */
  linesBefore: number | undefined;
  payload: ContainerPayload;
}

/** QUEUED -> STARTED under a new lease. Left out: builds canceled meanwhile, or taken by another worker. */
export async function claimBuilds(db: Db, ids: string[], { owner }: { owner: string }): Promise<ClaimedBuild[]> {
  if (ids.length === 0) return [];
  const lease = { leaseToken: newId(), askedAt: instant() };
  const rows = await db.transaction(async (tx) => {
    await lockWorkflowsOf(tx, ids);
    return tx.execute<{
      id: string;
      workflow_id: string;
      user_id: string;
      generation: number;
      attempt: number;
      lines: number | null;
      payload: ContainerPayload;
    }>(sql`
    WITH /* claimBuilds */ free AS (
      SELECT id FROM builds WHERE id = ANY(${array(ids, 'uuid')}) AND status = 'QUEUED' ORDER BY id FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE builds SET status = 'STARTED', attempt = attempt + 1, started_at = now(),
        lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END}
      FROM free WHERE builds.id = free.id
      RETURNING builds.id, workflow_id, user_id, generation, attempt,
        CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines
    ), shown AS (
      UPDATE workflows SET build_status = 'STARTED', updated_at = now() FROM claimed
      WHERE workflows.id = claimed.workflow_id AND workflows.generation = claimed.generation
    )
    SELECT claimed.*, payloads.payload FROM claimed JOIN payloads USING (workflow_id, generation)`);
  });
  return rows.map((row) => ({
    id: row.id,
    workflowId: row.workflow_id,
    userId: row.user_id,
    generation: row.generation,
    attempt: row.attempt,
    linesBefore: row.lines ?? undefined,
    ...lease,
    payload: row.payload,
  }));
}

/** Renews what is still held. What is not in `kept` is lost or CANCELED: it is to be stopped for real. */
export async function renewBuildLeases(db: Db, held: Held[]): Promise<{ kept: Set<string> }> {
  if (held.length === 0) return { kept: new Set() };
  const rows = await db.execute<{ id: string }>(sql`
    UPDATE /* renewBuildLeases */ builds SET lease_expires_at = ${LEASE_END} FROM ${heldSet(held)}
    WHERE builds.id = u.id AND builds.lease_token = u.lease_token RETURNING builds.id`);
  return { kept: new Set(rows.map((row) => row.id)) };
}

/** Whether somebody else builds now, under a lease that holds. */
export async function othersBuild(db: Db, { owner }: { owner: string }): Promise<boolean> {
  const rows = await db.execute(sql`
    SELECT /* othersBuild */ FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at > now() AND lease_owner <> ${owner} LIMIT 1`);
  return rows.length > 0;
}

/**
 * STARTED -> QUEUED: the worker stops before they have ended. They may have printed lines. The attempt does not count, unless `counted`: then a
 * build that has no other one left stays as it is. The ids of those that are QUEUED now.
 */
export async function releaseBuilds(db: Db, held: Held[], { counted = false } = {}): Promise<string[]> {
  if (held.length === 0) return [];
  return db.transaction(async (tx) => {
    await lockWorkflowsOf(
      tx,
      held.map(({ id }) => id),
    );
    const rows = await tx.execute<{ id: string }>(sql`
      WITH /* releaseBuilds */ released AS (
        UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + ${counted ? 0 : 1},
          lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL
        FROM ${heldSet(held)} WHERE builds.id = u.id AND builds.lease_token = u.lease_token ${counted ? sql`AND ${HAS_ATTEMPTS_LEFT}` : sql``}
        RETURNING builds.id, workflow_id, generation
      ), shown AS (
        UPDATE workflows SET build_status = 'QUEUED', updated_at = now() FROM released
        WHERE workflows.id = released.workflow_id AND workflows.generation = released.generation
      )
      SELECT id FROM released`);
    return rows.map(({ id }) => id);
  });
}

export type BuildOutcome = { id: string; workflowId: string; leaseToken: string; logLineCount: number } & (
  | { status: 'COMPLETED'; imageId: string; imageDigest?: string | undefined }
  | { status: 'FAILED'; error: string }
);

/**
 * STARTED -> COMPLETED or FAILED under the lease presented; undefined where it is lost. COMPLETED makes the workflow READY: its first
 * slot is now, or a slot that came due while a later generation was built runs now. FAILED cancels jobs that were asked for and wait.
 */
export async function endBuild(db: Db, outcome: BuildOutcome): Promise<{ notified: Notified[] } | undefined> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`SELECT /* endBuild */ FROM workflows WHERE id = ${outcome.workflowId} FOR NO KEY UPDATE`);
    await tx.execute(sql`SELECT /* endBuild */ FROM schedules WHERE workflow_id = ${outcome.workflowId} FOR UPDATE`);
    const [build] = await tx.execute<{ generation: number }>(sql`
      UPDATE /* endBuild */ builds SET status = ${outcome.status}, completed_at = now(), log_line_count = ${outcome.logLineCount},
        lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
        image_id = ${outcome.status === 'COMPLETED' ? outcome.imageId : null},
        image_digest = ${(outcome.status === 'COMPLETED' ? outcome.imageDigest : null) ?? null},
        error = ${outcome.status === 'FAILED' ? outcome.error : null}
      WHERE id = ${outcome.id} AND lease_token = ${outcome.leaseToken} RETURNING generation`);
    if (build === undefined) return undefined;
    await tx.execute(sql`
      UPDATE /* endBuild */ workflows SET build_status = ${outcome.status}, updated_at = now()
      WHERE id = ${outcome.workflowId} AND generation = ${build.generation}`);
    if (outcome.status === 'FAILED') {
      await cancelRequests(tx, [outcome.workflowId]);
      return { notified: await notify(tx, [buildFailed(outcome.workflowId, outcome.error)]) };
    }
    await tx.execute(sql`
      INSERT /* endBuild */ INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at)
      SELECT id, user_id, kind, 'READY', generation, interval_minutes, now(), now() FROM workflows
      WHERE id = ${outcome.workflowId} AND generation = ${build.generation} AND terminated_at IS NULL
      ON CONFLICT (workflow_id) DO UPDATE SET state = 'READY', generation = excluded.generation, wake_at = now()
        WHERE schedules.state = 'BLOCKED'`);
    return { notified: [] };
  });
}

const HAS_ATTEMPTS_LEFT = sql`(attempt - uncounted_attempts < ${ATTEMPTS_MAX})`;

function buildFailed(workflowId: string, detail: string) {
  return { kind: 'WORKFLOW_BUILD_FAILED', workflowId, detail } as const;
}

/**
 * The sweep over builds: a STARTED one whose worker is lost is QUEUED again, or FAILED after ATTEMPTS_MAX; the ids of those
 * that have been QUEUED for a while and have no turn: their event may be lost.
 *
 * After a break in which the database was away from everybody, workers get the length of a lease to renew theirs. `watchedSeconds` is asked
 * once the expired leases are read, and what is taken had expired when this transaction began: a break in the middle of it, at any point, shows
 * in one or the other.
 */
export async function sweepBuilds(db: Db, { watchedSeconds }: { watchedSeconds: () => number }): Promise<string[]> {
  await db.transaction(async (tx) => {
    const lost = await tx.execute<{ id: string; workflow_id: string }>(sql`
      SELECT /* sweepBuilds */ id, workflow_id FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at < now()
      ORDER BY id LIMIT ${SWEPT_MAX}`);
    if (lost.length === 0 || watchedSeconds() < LEASE_SECONDS) return;
    const workflowIds = lost.map((row) => row.workflow_id);
    const ids = array(workflowIds, 'uuid');
    const buildIds = lost.map((row) => row.id);
    await tx.execute(sql`SELECT /* sweepBuilds */ FROM workflows WHERE id = ANY(${ids}) ORDER BY id FOR NO KEY UPDATE`);
    await tx.execute(
      sql`SELECT /* sweepBuilds */ FROM schedules WHERE workflow_id = ANY(${ids}) ORDER BY workflow_id FOR UPDATE`,
    );
    const swept = await tx.execute<{ workflow_id: string; status: string; error: string }>(sql`
      WITH /* sweepBuilds */ locked AS MATERIALIZED (
        SELECT id FROM builds WHERE id = ANY(${array(buildIds, 'uuid')}) AND status = 'STARTED' AND lease_expires_at < now()
        ORDER BY id FOR UPDATE
      ), swept AS (
        UPDATE builds SET lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
          status = CASE WHEN ${HAS_ATTEMPTS_LEFT} THEN 'QUEUED' ELSE 'FAILED' END,
          completed_at = CASE WHEN ${HAS_ATTEMPTS_LEFT} THEN NULL ELSE now() END,
          error = CASE WHEN ${HAS_ATTEMPTS_LEFT} THEN NULL
            ELSE 'The worker that built it was lost, and so was each one that tried again. Update the payload to try once more.' END,
          log_line_count = ${storedLines(sql`builds.id`)},
          log_open = NOT ${HAS_ATTEMPTS_LEFT}
        FROM locked WHERE builds.id = locked.id
        RETURNING workflow_id, generation, status, error
      ), shown AS (
        UPDATE workflows SET build_status = swept.status, updated_at = now() FROM swept
        WHERE workflows.id = swept.workflow_id AND workflows.generation = swept.generation
      )
      SELECT workflow_id, status, error FROM swept`);
    const failed = swept.filter((row) => row.status === 'FAILED');
    await cancelRequests(
      tx,
      failed.map((row) => row.workflow_id),
    );
    await notify(
      tx,
      failed.map((row) => buildFailed(row.workflow_id, row.error)),
    ); // whoever watches finds it by the slow re-check
  });
  const rows = await db.execute<{ id: string }>(sql`
    SELECT /* sweepBuilds */ id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED'
      AND NOT EXISTS (SELECT FROM turns WHERE turns.id = builds.id)
      AND coalesce(started_at, created_at) < now() - ${seconds(RECHECK_SECONDS)} ORDER BY id LIMIT ${SWEPT_MAX}`);
  return rows.map((row) => row.id);
}

/** Lost builds, and those that wait for long, of one sweep. */
const SWEPT_MAX = 1_000;

/** Before the builds' own locks, which an update or the end of their workflow takes after this one: the other order deadlocks with them. */
async function lockWorkflowsOf(tx: Pick<Db, 'execute'>, buildIds: string[]): Promise<void> {
  await tx.execute(sql`
    SELECT /* lockWorkflowsOf */ FROM workflows WHERE id = ANY(ARRAY(SELECT workflow_id FROM builds WHERE id = ANY(${array(buildIds, 'uuid')})))
    ORDER BY id FOR NO KEY UPDATE`);
}

function heldSet(held: Held[]): SQL {
  return rowSet('u', sortedById(held), { id: 'uuid', leaseToken: 'uuid' });
}
