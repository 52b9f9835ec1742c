import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { newId } from '../../domain/ids.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { instant } from '../../platform/async/instant.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { LEASE_END, type Lease } from '../lease.ts';
import { rowSet } from '../row-set.ts';

/**
 * A job under the lease of its worker. Every later write of the attempt presents the lease. If the
 * lease is lost, the write changes nothing.
 */
export interface ClaimedJob extends Lease {
  workflowId: string;
  userId: string;
  generation: number;
  /** The number of the attempt. It is unique within the job. */
  attempt: number;
  /**
   * Whether the job fails when this attempt is lost. Attempts that were returned uncounted do not
   * count.
   */
  isLastAttempt: boolean;
  /**
   * The lines of earlier attempts; undefined until their number is settled (db/logs/markers.ts).
   */
  linesBefore: number | undefined;
  startedAt: Date;
  /** The newest earlier attempt whose end nobody saw, unless the log says so already. */
  lostAttempt: number | undefined;
  /** The engine that the attempt was claimed for; undefined if it needs no engine. */
  engineId: string | undefined;
  /**
   * Can be true for a job that was taken over: its former worker may have been lost while it
   * stopped the container.
   */
  cancelRequested: boolean;
}

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
  lost_attempt: number | null;
};

/**
 * QUEUED -> RUNNING under a new lease. Leaves out jobs that were canceled meanwhile.
 *
 * It waits for the commit of a worker that is claiming the same job, and locks in the order of the
 * ids. Batches overlap only if an event came twice; locking with SKIP LOCKED first would write each
 * row twice. `id = ANY` would lock in the order of any index that the planner chooses.
 *
 * `engineId` names the Docker engine that a container will run on.
 */
export async function claimJobs(
  db: Db,
  ids: string[],
  { owner, engineId }: { owner: string; engineId?: string },
): Promise<{ claimed: ClaimedJob[]; effects: Effects }> {
  const lease = { leaseToken: newId(), askedAt: instant() };
  const rows = await db.execute<ClaimedRow>(sql`
    UPDATE /* claimJobs */ jobs SET status = 'RUNNING', attempt = attempt + 1, started_at = now(), updated_at = now(),
      lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END},
      engine_id = ${engineId ?? null}
    FROM unnest(${array(ids.toSorted(), 'uuid')}) AS u (id) WHERE jobs.id = u.id AND status = 'QUEUED'
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, uncounted_attempts, ${LINES_BEFORE} AS lines_before, started_at,
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt`);
  const changed = rows.map((row) => ({ userId: row.user_id, jobs: [row.id] }));
  return { claimed: rows.map((row) => toClaimed(row, lease)), effects: { ...noEffects, changed } };
}

/**
 * Takes over attempts under a new lease token, if their lease has expired or belongs to one of
 * `endedOwners`: a worker adopts the containers on its engine. The attempt stays the same and is
 * not counted again. Subscribers see no difference.
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
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt`);
  return rows.map((row) => toClaimed(row, lease));
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
    lostAttempt: row.lost_attempt ?? undefined,
    engineId: row.engine_id ?? undefined,
    cancelRequested: row.cancel_requested,
    ...lease,
  };
}
