import { type SQL, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { endColumns } from '../ends/columns.ts';
import { CHANGED_COLUMNS, type ChangedJob, COUNT_CHANGED, jobEffects } from '../ends/jobs.ts';
import { eachDay, eachDayOf } from '../job-days.ts';
import { LEASE_END, type LeaseKey } from '../lease.ts';
import { rowSet, sortedById } from '../row-set.ts';

/**
 * Renews these leases. A lease that is not in `kept` is lost: another worker or the sweep has taken
 * its job or ended it.
 */
export async function renewLeases(
  db: Db,
  leases: LeaseKey[],
): Promise<{ kept: Set<string>; cancelRequested: Set<string> }> {
  if (leases.length === 0) return { kept: new Set(), cancelRequested: new Set() };
  const renew = (jobs: SQL, ofDay: LeaseKey[]) =>
    db.execute<{ id: string; cancel: boolean }>(sql`
    UPDATE /* renewLeases */ ${jobs} SET lease_expires_at = ${LEASE_END}
    ${underLeases(ofDay)} RETURNING jobs.id, cancel_requested_at IS NOT NULL AS cancel`);
  const rows = await eachDay(db, leases, idOf, renew);
  return {
    kept: new Set(rows.map((row) => row.id)),
    cancelRequested: new Set(rows.filter((row) => row.cancel).map((row) => row.id)),
  };
}

/**
 * Lets these leases expire now, so that the next worker on the engine adopts the containers.
 * Subscribers do not notice.
 */
export async function releaseJobs(db: Db, leases: LeaseKey[]): Promise<void> {
  if (leases.length === 0) return;
  await eachDay(db, leases, idOf, (jobs, ofDay) =>
    db.execute(sql`
    UPDATE /* releaseJobs */ ${jobs} SET lease_expires_at = now() - interval '1 millisecond' ${underLeases(ofDay)}`),
  );
}

/** The jobs whose leases were still valid. */
export interface Returned {
  pending: string[];
  canceled: string[];
  effects: Effects;
}

/**
 * RUNNING -> PENDING. Makes the schedules of the jobs due at once.
 *
 * A `counted` attempt is used up, and the next attempt waits for its back-off. If it `ran`, its log
 * says itself what is missing. An attempt that is not counted costs nothing. One that may have
 * `printed` leaves lines on the bus: the next attempt asks how many. If the cancellation of a job
 * was requested meanwhile, the job becomes CANCELED instead.
 */
export async function returnJobs(
  db: Db,
  leases: LeaseKey[],
  { counted = false, printed = counted, ran = false }: { counted?: boolean; printed?: boolean; ran?: boolean } = {},
): Promise<Returned> {
  if (leases.length === 0) return { pending: [], canceled: [], effects: noEffects };
  const isCanceled = sql`cancel_requested_at IS NOT NULL`;
  const giveBack = (jobs: SQL, ofDay: LeaseKey[]) =>
    db.execute<ChangedJob>(sql`
    WITH /* returnJobs */ changed AS (
      UPDATE ${jobs} SET status = CASE WHEN ${isCanceled} THEN 'CANCELED' ELSE 'PENDING' END, updated_at = now(),
        uncounted_attempts = uncounted_attempts + ${counted ? 0 : 1}::integer, started_at = NULL, retry_at = NULL,
        lost_attempt = CASE WHEN NOT ${ran}::boolean THEN lost_attempt END,
        ${endColumns('jobs', { ends: isCanceled, linesMayFollow: sql`(${printed} OR attempt > 1)` })},
        -- the lines before an attempt that printed nothing are the lines before the next one
        log_attempt = CASE WHEN cancel_requested_at IS NULL AND NOT ${printed} AND log_attempt >= attempt + adoptions
          THEN attempt + adoptions + 1 ELSE log_attempt END
      ${underLeases(ofDay)} RETURNING ${CHANGED_COLUMNS}
    ), ${COUNT_CHANGED}
    SELECT * FROM changed`);
  const returned = await eachDay(db, leases, idOf, giveBack);
  const workflowIds = returned.map((job) => job.workflow_id);
  await db.execute(sql`
    WITH /* returnJobs */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules WHERE workflow_id = ANY(${array(workflowIds, 'uuid')})
      ORDER BY workflow_id FOR UPDATE
    )
    UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id])`);
  const of = (status: string) => returned.filter((job) => job.status === status).map(({ id }) => id);
  const effects = { ...jobEffects(returned), wakeScheduler: returned.length > 0 };
  return { pending: of('PENDING'), canceled: of('CANCELED'), effects };
}

/**
 * PENDING -> QUEUED, for a job that was returned because another engine has what it needs: it need
 * not wait for the scheduling worker, which may be faster. The caller gives it a turn. Returns its
 * id if it is QUEUED now.
 */
export async function queueReturned(db: Db, id: string): Promise<string[]> {
  const queued = await eachDayOf(db, [id], (jobs) =>
    db.execute<{ id: string }>(sql`
    UPDATE /* queueReturned */ ${jobs} SET status = 'QUEUED', queued_at = now(), updated_at = now()
    WHERE id = ${id} AND status = 'PENDING' RETURNING id`),
  );
  return queued.map((row) => row.id);
}

export interface JobState {
  status: string;
  attempt: number;
  leaseExpired: boolean;
  owner: string | null;
  /** The engine that the newest attempt was claimed for. */
  engineId: string | null;
}

/** The states of these jobs. Unknown ids are missing from the result. */
export async function jobStates(db: Db, ids: string[]): Promise<Map<string, JobState>> {
  const read = (jobs: SQL, ofDay: string[]) =>
    db.execute<{
      id: string;
      status: string;
      attempt: number;
      expired: boolean | null;
      owner: string | null;
      engine_id: string | null;
    }>(sql`
    SELECT /* jobStates */ id, status, attempt, lease_expires_at < now() AS expired, lease_owner AS owner, engine_id
    FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')})`);
  const rows = await eachDayOf(db, ids, read);
  return new Map(
    rows.map(({ id, status, attempt, expired, owner, engine_id: engineId }) => [
      id,
      { status, attempt, leaseExpired: expired ?? true, owner, engineId },
    ]),
  );
}

const idOf = ({ id }: LeaseKey) => id;

/**
 * The end of a statement that changes the RUNNING jobs of these leases, in the order of their ids.
 * finishLeased explains this form.
 */
function underLeases(leases: LeaseKey[]) {
  return sql`FROM ${rowSet('u', sortedById(leases), { id: 'uuid', leaseToken: 'uuid' })}
    WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token`;
}
