import { sql } from 'drizzle-orm';
import { newId } from '../../domain/ids.ts';
import { ATTEMPTS_MAX, LEASE_SECONDS } from '../../domain/limits.ts';
import { type Instant, instant } from '../../platform/async/instant.ts';
import { countEnded } from '../analytics.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { rowSet, sortedById } from '../row-set.ts';

/** A job as its worker holds it. Every later write of this attempt carries the token; a worker that has lost it can change nothing. */
export interface ClaimedJob extends Lease {
  workflowId: string;
  userId: string;
  generation: number;
  /** The attempt's number. No other attempt of the job ever has it. */
  attempt: number;
  /** Whether the job fails when this attempt is lost: attempts that were given back are not counted. */
  isLastAttempt: boolean;
  /** Lines of earlier attempts; undefined while that is not settled (db/logs/markers.ts). */
  linesBefore: number | undefined;
  startedAt: Date;
  /** Of the engine that the attempt was claimed for; undefined where it needs none. */
  engineId: string | undefined;
  /** Of a job that was taken over: its worker may have been lost while it stopped the container. */
  cancelRequested: boolean;
}

export interface Held {
  id: string;
  leaseToken: string;
}

/** A lease that was just taken. */
export interface Lease extends Held {
  /**
   * The moment before the database was asked for it, from which on its time is counted here: the answer may come late, and the lease does
   * not wait for it.
   */
  askedAt: Instant;
}

/** Of the statement's own time: a transaction may have begun long before it. */
export const LEASE_END = sql`clock_timestamp() + ${seconds(LEASE_SECONDS)}`;

const LINES_BEFORE = sql`CASE WHEN log_attempt >= attempt THEN log_line_count END`;

type ClaimedRow = {
  id: string;
  workflow_id: string;
  user_id: string;
  generation: number;
  attempt: number;
  uncounted_attempts: number;
  lines_before: number | null;
  started_at: string;
  cancel_requested: boolean;
  engine_id: string | null;
};

/**
 * QUEUED -> RUNNING under a new lease, of those that are QUEUED. Left out: jobs canceled meanwhile, or taken by another worker,
 * for whose commit this waits, in the order of the ids: batches overlap only when an event came twice. Locking with SKIP LOCKED first wrote each
 * row twice; `id = ANY` comes in the order of whatever index the planner takes.
 * `engineId` names the Docker engine that a container will run on.
 */
export async function claimJobs(
  db: Db,
  ids: string[],
  { owner, engineId }: { owner: string; engineId?: string },
): Promise<{ leaseToken: string; claimed: ClaimedJob[] }> {
  const lease = { leaseToken: newId(), askedAt: instant() };
  const rows = await db.execute<ClaimedRow>(sql`
    UPDATE /* claimJobs */ jobs SET status = 'RUNNING', attempt = attempt + 1, started_at = now(), updated_at = now(),
      lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END},
      engine_id = ${engineId ?? null}
    FROM unnest(${array(ids.toSorted(), 'uuid')}) AS u (id) WHERE jobs.id = u.id AND status = 'QUEUED'
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, uncounted_attempts, ${LINES_BEFORE} AS lines_before, started_at,
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id`);
  return { leaseToken: lease.leaseToken, claimed: rows.map((row) => toClaimed(row, lease)) };
}

/**
 * Takes over attempts whose lease has expired or is one of `endedOwners`, under a new token: adoption of containers that run on this
 * worker's engine, which is the engine that the attempt was claimed for. The attempt stays the same, and costs nothing.
 */
export async function takeOverJobs(
  db: Db,
  attempts: { id: string; attempt: number }[],
  { owner, engineId, endedOwners = [] }: { owner: string; engineId: string; endedOwners?: string[] },
): Promise<ClaimedJob[]> {
  if (attempts.length === 0) return [];
  const lease = { leaseToken: newId(), askedAt: instant() };
  const rows = await db.execute<ClaimedRow>(sql`
    WITH /* takeOverJobs */ orphan AS MATERIALIZED (
      SELECT u.id FROM ${rowSet('u', attempts, { id: 'uuid', attempt: 'integer' })}, LATERAL (
        SELECT FROM jobs WHERE jobs.id = u.id AND jobs.attempt = u.attempt AND status = 'RUNNING'
          AND engine_id = ${engineId} AND (lease_expires_at < now() OR lease_owner = ANY(${array(endedOwners, 'text')}))
        LIMIT 1 FOR UPDATE SKIP LOCKED) orphan
    )
    UPDATE jobs SET updated_at = now(),
      lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END}
    FROM orphan WHERE jobs.id = orphan.id
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, uncounted_attempts, ${LINES_BEFORE} AS lines_before, started_at,
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id`);
  return rows.map((row) => toClaimed(row, lease));
}

/** Renews what is still held. What is not in `kept` is lost: another worker, or the sweep, has taken it or ended it. */
export async function renewLeases(db: Db, held: Held[]): Promise<{ kept: Set<string>; cancelRequested: Set<string> }> {
  if (held.length === 0) return { kept: new Set(), cancelRequested: new Set() };
  const rows = await db.execute<{ id: string; cancel: boolean }>(sql`
    UPDATE /* renewLeases */ jobs SET lease_expires_at = ${LEASE_END}
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
    UPDATE /* releaseJobs */ jobs SET lease_expires_at = now() - interval '1 millisecond' ${whereHeld(held)}`);
}

/**
 * RUNNING -> PENDING: their schedules come up at once. Attempts that are `counted` are used up, and the next one waits for its back-off; the
 * others had started nothing and printed nothing, and cost nothing. A job whose cancellation was asked for meanwhile does not come back to
 * life: it is CANCELED, and its log ends behind what its attempts have printed (db/logs/markers.ts).
 */
export async function returnJobs(db: Db, held: Held[], { counted = false } = {}): Promise<Returned> {
  if (held.length === 0) return { pending: [], canceled: [] };
  const { workflowIds, ...ids } = await db.transaction(async (tx) => {
    const returned = await tx.execute<{ id: string; workflow_id: string; status: string }>(sql`
      UPDATE /* returnJobs */ jobs SET status = CASE WHEN cancel_requested_at IS NULL THEN 'PENDING' ELSE 'CANCELED' END,
        completed_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
        uncounted_attempts = uncounted_attempts + ${counted ? 0 : 1}::integer, updated_at = now(), started_at = NULL,
        queued_at = NULL, lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
        log_open = cancel_requested_at IS NOT NULL AND (${counted} OR attempt > 1),
        -- what is settled for an attempt that printed nothing is settled for the next one
        log_attempt = CASE WHEN cancel_requested_at IS NULL AND NOT ${counted} AND log_attempt >= attempt
          THEN attempt + 1 ELSE log_attempt END
      ${whereHeld(held)} RETURNING jobs.id, workflow_id, status`);
    const of = (status: string) => returned.filter((row) => row.status === status).map((row) => row.id);
    const canceled = of('CANCELED');
    await countEnded(tx, canceled);
    return { workflowIds: returned.map((row) => row.workflow_id), pending: of('PENDING'), canceled };
  });
  await db.execute(sql`
    WITH /* returnJobs */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules WHERE workflow_id = ANY(${array(workflowIds, 'uuid')})
      ORDER BY workflow_id FOR UPDATE
    )
    UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = locked.workflow_id`);
  return ids;
}

/** Ids of those that were still held. */
export interface Returned {
  pending: string[];
  canceled: string[];
}

export interface JobState {
  status: string;
  attempt: number;
  leaseExpired: boolean;
  owner: string | null;
  /** Of the engine that its newest attempt was claimed for. */
  engineId: string | null;
}

/** What became of these jobs; unknown ids are missing. */
export async function jobStates(db: Db, ids: string[]): Promise<Map<string, JobState>> {
  if (ids.length === 0) return new Map();
  const rows = await db.execute<{
    id: string;
    status: string;
    attempt: number;
    expired: boolean | null;
    owner: string | null;
    engine_id: string | null;
  }>(sql`
    SELECT /* jobStates */ id, status, attempt, lease_expires_at < now() AS expired, lease_owner AS owner, engine_id
    FROM jobs WHERE id = ANY(${array(ids, 'uuid')})`);
  return new Map(
    rows.map(({ id, status, attempt, expired, owner, engine_id: engineId }) => [
      id,
      { status, attempt, leaseExpired: expired ?? true, owner, engineId },
    ]),
  );
}

/** The jobs that are RUNNING under the leases presented, in the order of their ids; for the shape of it see endHeld in db/jobs/finish.ts. */
function whereHeld(held: Held[]) {
  return sql`FROM ${rowSet('u', sortedById(held), { id: 'uuid', leaseToken: 'uuid' })}
    WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token`;
}

function toClaimed(row: ClaimedRow, lease: Omit<Lease, 'id'>): ClaimedJob {
  return {
    id: row.id,
    workflowId: row.workflow_id,
    userId: row.user_id,
    generation: row.generation,
    attempt: row.attempt,
    isLastAttempt: row.attempt - row.uncounted_attempts >= ATTEMPTS_MAX,
    linesBefore: row.lines_before ?? undefined,
    startedAt: new Date(row.started_at),
    engineId: row.engine_id ?? undefined,
    cancelRequested: row.cancel_requested,
    ...lease,
  };
}
