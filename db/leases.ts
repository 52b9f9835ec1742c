import { sql } from 'drizzle-orm';
import { newId } from '../domain/ids.ts';
import { LEASE_SECONDS } from '../domain/limits.ts';
import { array, seconds } from './arrays.ts';
import type { Db } from './client.ts';
import { leftOpen } from './log-seams.ts';
import { countEnded } from './totals.ts';

/** A job as its worker holds it. Every later write of this attempt carries the token; whoever lost it can change nothing. */
export interface ClaimedJob {
  id: string;
  workflowId: string;
  userId: string;
  generation: number;
  attempt: number;
  /** Lines of earlier attempts; undefined while that is not settled (db/log-seams.ts). */
  linesBefore: number | undefined;
  startedAt: Date;
  leaseToken: string;
}

export interface Held {
  id: string;
  leaseToken: string;
}

const LINES_BEFORE = sql`CASE WHEN log_attempt >= attempt THEN log_line_count END`;

type ClaimedRow = {
  id: string;
  workflow_id: string;
  user_id: string;
  generation: number;
  attempt: number;
  lines_before: number | null;
  started_at: string;
};

/**
 * QUEUED -> RUNNING under a new lease, of those that are QUEUED. Left out: jobs canceled meanwhile, or taken by another worker,
 * for whose commit this waits: batches overlap only when an event came twice. Locking with SKIP LOCKED first wrote each row twice.
 * `engineId` names the Docker engine that a container will run on.
 */
export async function claimJobs(
  db: Db,
  ids: string[],
  { owner, engineId }: { owner: string; engineId?: string },
): Promise<{ leaseToken: string; claimed: ClaimedJob[] }> {
  const leaseToken = newId();
  const rows = await db.execute<ClaimedRow>(sql`
    UPDATE jobs SET status = 'RUNNING', attempt = attempt + 1, started_at = now(), updated_at = now(),
      lease_token = ${leaseToken}, lease_owner = ${owner}, lease_expires_at = now() + ${seconds(LEASE_SECONDS)},
      engine_id = ${engineId ?? null}
    WHERE id = ANY(${array(ids, 'uuid')}) AND status = 'QUEUED'
    RETURNING id, workflow_id, user_id, generation, attempt, ${LINES_BEFORE} AS lines_before, started_at`);
  return { leaseToken, claimed: rows.map((row) => toClaimed(row, leaseToken)) };
}

/**
 * Takes over attempts whose lease has expired or is one of `endedOwners`, under a new token: adoption of containers that run on this
 * worker's engine. The attempt stays the same, and costs nothing.
 */
export async function takeOverJobs(
  db: Db,
  attempts: { id: string; attempt: number }[],
  { owner, engineId, endedOwners = [] }: { owner: string; engineId: string; endedOwners?: string[] },
): Promise<ClaimedJob[]> {
  if (attempts.length === 0) return [];
  const leaseToken = newId();
  const rows = await db.execute<ClaimedRow>(sql`
    WITH orphan AS MATERIALIZED (
      SELECT u.id FROM unnest(
        ${array(
          attempts.map(({ id }) => id),
          'uuid',
        )}, ${array(
          attempts.map(({ attempt }) => attempt),
          'integer',
        )}
      ) AS u (id, attempt), LATERAL (
        SELECT FROM jobs WHERE jobs.id = u.id AND jobs.attempt = u.attempt AND status = 'RUNNING'
          AND (lease_expires_at < now() OR lease_owner = ANY(${array(endedOwners, 'text')}))
        LIMIT 1 FOR UPDATE SKIP LOCKED) orphan
    )
    UPDATE jobs SET updated_at = now(), engine_id = ${engineId},
      lease_token = ${leaseToken}, lease_owner = ${owner}, lease_expires_at = now() + ${seconds(LEASE_SECONDS)}
    FROM orphan WHERE jobs.id = orphan.id
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, ${LINES_BEFORE} AS lines_before, started_at`);
  return rows.map((row) => toClaimed(row, leaseToken));
}

/** Renews what is still held. What is not in `kept` is lost: another worker, or the sweep, has taken it or ended it. */
export async function renewLeases(db: Db, held: Held[]): Promise<{ kept: Set<string>; cancelRequested: Set<string> }> {
  if (held.length === 0) return { kept: new Set(), cancelRequested: new Set() };
  const rows = await db.execute<{ id: string; cancel: boolean }>(sql`
    UPDATE jobs SET lease_expires_at = now() + ${seconds(LEASE_SECONDS)}
    ${whereHeld(held)} RETURNING jobs.id, cancel_requested_at IS NOT NULL AS cancel`);
  return {
    kept: new Set(rows.map((row) => row.id)),
    cancelRequested: new Set(rows.filter((row) => row.cancel).map((row) => row.id)),
  };
}

/** Lets these leases expire now: the next worker on the engine adopts the containers. */
export async function releaseJobs(db: Db, held: Held[]): Promise<void> {
  if (held.length === 0) return;
  await db.execute(sql`
    UPDATE jobs SET lease_expires_at = now() - interval '1 millisecond' ${whereHeld(held)}`);
}

/**
 * RUNNING -> PENDING for jobs of which nothing was started. Their schedules come up at once; of an attempt that is `counted` the next one
 * waits for its back-off, of the others nothing is left. A job whose cancellation was asked for meanwhile does not come back to life: it is
 * CANCELED.
 */
export async function returnJobs(db: Db, held: Held[], { counted = false } = {}): Promise<void> {
  if (held.length === 0) return;
  const rows = await db.transaction(async (tx) => {
    const returned = await tx.execute<{ id: string; workflow_id: string; status: string }>(sql`
      UPDATE jobs SET status = CASE WHEN cancel_requested_at IS NULL THEN 'PENDING' ELSE 'CANCELED' END,
        completed_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
        attempt = attempt - ${counted ? 0 : 1}::integer, updated_at = now(), started_at = NULL, queued_at = NULL,
        lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
        log_attempt = ${leftOpen(sql`cancel_requested_at IS NOT NULL AND attempt > 1`)}
      ${whereHeld(held)} RETURNING jobs.id, workflow_id, status`);
    await countEnded(
      tx,
      returned.filter((row) => row.status === 'CANCELED').map((row) => row.id),
    );
    return returned;
  });
  await db.execute(sql`
    UPDATE schedules SET wake_at = now()
    WHERE workflow_id = ANY(${array(
      rows.map((row) => row.workflow_id),
      'uuid',
    )})`);
}

export type JobState = { status: string; attempt: number; leaseExpired: boolean; owner: string | null };

/** What became of these jobs; unknown ids are missing. */
export async function jobStates(db: Db, ids: string[]): Promise<Map<string, JobState>> {
  if (ids.length === 0) return new Map();
  const rows = await db.execute<{
    id: string;
    status: string;
    attempt: number;
    expired: boolean | null;
    owner: string | null;
  }>(sql`
    SELECT id, status, attempt, lease_expires_at < now() AS expired, lease_owner AS owner
    FROM jobs WHERE id = ANY(${array(ids, 'uuid')})`);
  return new Map(
    rows.map(({ id, status, attempt, expired, owner }) => [
      id,
      { status, attempt, leaseExpired: expired ?? true, owner },
    ]),
  );
}

/** The jobs that are RUNNING under the leases presented, in the order of their ids; for the shape of it see endHeld in db/endings.ts. */
function whereHeld(held: Held[]) {
  const sorted = held.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return sql`FROM unnest(
      ${array(
        sorted.map(({ id }) => id),
        'uuid',
      )}, ${array(
        sorted.map(({ leaseToken }) => leaseToken),
        'uuid',
      )}
    ) AS u (id, token) WHERE jobs.id = u.id AND lease_token = u.token`;
}

function toClaimed(row: ClaimedRow, leaseToken: string): ClaimedJob {
  return {
    id: row.id,
    workflowId: row.workflow_id,
    userId: row.user_id,
    generation: row.generation,
    attempt: row.attempt,
    linesBefore: row.lines_before ?? undefined,
    startedAt: new Date(row.started_at),
    leaseToken,
  };
}
