import { type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects, type UserChange } from '../../domain/effects.ts';
import { newId } from '../../domain/ids.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { instant } from '../../platform/async/instant.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay, eachDayOf } from '../job-days.ts';
import { LEASE_END, type Lease } from '../lease.ts';
import { rowSet, sortedById } from '../row-set.ts';

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
  /** What its chunks and its marker carry (domain/logs/chunk.ts). */
  epoch: number;
  /**
   * Whether the job fails when this attempt is lost. Attempts that were returned uncounted do not
   * count, and neither do those that failed and were retried.
   */
  isLastAttempt: boolean;
  /**
   * The lines of earlier epochs; undefined until their number is settled (db/logs/markers.ts).
   */
  linesBefore: number | undefined;
  startedAt: Date;
  /**
   * Why the last attempt that was seen to end failed, if the job is retried. Undefined once its
   * cancellation was requested: the message of the job may say why it was.
   */
  failureBefore: string | undefined;
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

const LINES_BEFORE = sql`CASE WHEN log_attempt >= attempt + adoptions THEN log_line_count END`;

type ClaimedRow = {
  id: string;
  workflow_id: string;
  user_id: string;
  generation: number;
  attempt: number;
  epoch: number;
  uncounted_attempts: number;
  retries: number;
  failure_message: string | null;
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
 * The condition on the status is one on the row set (OFFSET 0 keeps it there). Statistics are
 * nearly always made when no job is QUEUED. A condition on `jobs` alone would then make the planner
 * expect no row, read all jobs and compare each with each id: 2 s for 1,000 ids among 20,000 jobs.
 *
 * `engineId` names the Docker engine that a container will run on.
 */
export async function claimJobs(
  db: Db,
  ids: string[],
  { owner, engineId }: { owner: string; engineId?: string },
): Promise<{ claimed: ClaimedJob[]; effects: Effects }> {
  const lease = { leaseToken: newId(), askedAt: instant() };
  const claim = (jobs: SQL, ofDay: string[]) =>
    db.execute<ClaimedRow>(sql`
    UPDATE /* claimJobs */ ${jobs} SET status = 'RUNNING', attempt = attempt + 1, started_at = now(), updated_at = now(),
      lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END},
      engine_id = ${engineId ?? null}
    FROM (SELECT id, 'QUEUED' AS status FROM unnest(${array(ofDay.toSorted(), 'uuid')}) AS asked (id) OFFSET 0) u
    WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.status = u.status
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, attempt + adoptions AS epoch, uncounted_attempts, retries, ${LINES_BEFORE} AS lines_before, started_at,
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt, failure_message`);
  const rows = await eachDayOf(db, ids, claim);
  return { claimed: toClaimed(rows, lease), effects: { ...noEffects, changed: changedOf(rows) } };
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
  const takeOver = (jobs: SQL, ofDay: typeof attempts) =>
    db.execute<ClaimedRow>(sql`
    WITH /* takeOverJobs */ orphan AS MATERIALIZED (
      SELECT u.id FROM ${rowSet('u', sortedById(ofDay), { id: 'uuid', attempt: 'integer' })}, LATERAL (
        SELECT FROM ${jobs} WHERE jobs.id = u.id AND jobs.attempt = u.attempt AND status = 'RUNNING'
          AND engine_id = ${engineId} AND (lease_expires_at < now() OR lease_owner = ANY(${array(endedOwners, 'text')}))
        LIMIT 1 FOR UPDATE SKIP LOCKED) orphan
    )
    UPDATE ${jobs} SET adoptions = adoptions + 1, updated_at = now(),
      lease_token = ${lease.leaseToken}, lease_owner = ${owner}, lease_expires_at = ${LEASE_END}
    FROM orphan WHERE jobs.id = ANY(ARRAY[orphan.id])
    RETURNING jobs.id, workflow_id, user_id, generation, attempt, attempt + adoptions AS epoch, uncounted_attempts, retries, ${LINES_BEFORE} AS lines_before, started_at,
      cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt, failure_message`);
  return toClaimed(await eachDay(db, attempts, ({ id }) => id, takeOver), lease);
}

/** All of a statement have begun at the same time. */
function toClaimed(rows: ClaimedRow[], lease: Omit<Lease, 'id'>): ClaimedJob[] {
  const instants = new Map<string, Date>();
  const instantOf = (text: string) => {
    const date = instants.get(text) ?? new Date(text);
    instants.set(text, date);
    return date;
  };
  return rows.map((row) => ({
    id: row.id,
    workflowId: row.workflow_id,
    userId: row.user_id,
    generation: row.generation,
    attempt: row.attempt,
    epoch: row.epoch,
    isLastAttempt: row.attempt - row.uncounted_attempts - row.retries >= ATTEMPTS_MAX,
    linesBefore: row.lines_before ?? undefined,
    startedAt: instantOf(row.started_at),
    failureBefore: row.retries > 0 && !row.cancel_requested ? (row.failure_message ?? undefined) : undefined,
    lostAttempt: row.lost_attempt ?? undefined,
    engineId: row.engine_id ?? undefined,
    cancelRequested: row.cancel_requested,
    leaseToken: lease.leaseToken,
    askedAt: lease.askedAt,
  }));
}

function changedOf(rows: ClaimedRow[]): UserChange[] {
  const users = new Map<string, string[]>();
  for (const { user_id: userId, id } of rows) {
    const ids = users.get(userId);
    if (ids === undefined) users.set(userId, [id]);
    else ids.push(id);
  }
  return [...users].map(([userId, jobs]) => ({ userId, jobs }));
}
