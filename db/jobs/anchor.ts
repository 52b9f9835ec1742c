import { sql } from 'drizzle-orm';
import { RECHECK_SECONDS_MAX } from '../../domain/limits.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDayOf } from '../job-days.ts';
import { LEASE_END } from '../lease.ts';

/**
 * The clock of the database, in milliseconds since 1970. A value below an earlier one means that
 * the clock was set back.
 */
export async function databaseClockMs(db: Pick<Db, 'execute'>): Promise<number> {
  const [row] = await db.execute<{ ms: number }>(sql`
    SELECT /* databaseClockMs */ (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms`);
  if (row === undefined) throw new Error('The database did not say its time.');
  return row.ms;
}

/**
 * The most seconds that the scheduler ever waits before it looks at an active job again. No wake_at
 * before the next slot is further off, unless the clock was set back.
 */
const WAKE_SECONDS_MAX = Math.max(...Object.values(RECHECK_SECONDS_MAX));

/**
 * A schedule whose next slot is more than one interval away, or whose active job is not looked at
 * for longer than ever happens by itself: the clock was set back since these were written.
 */
const IS_TOO_FAR = sql`(next_run_at > now() + make_interval(mins => interval_minutes)
  OR wake_at > now() + ${seconds(WAKE_SECONDS_MAX)} AND wake_at < coalesce(CASE WHEN paused THEN paused_until ELSE next_run_at END, 'infinity') - interval '1 second')`;

/**
 * Anchors anew the schedules that are too far off, at most `limit` of those after `after`, in the
 * order of their ids: the next slot comes within one interval. replanSlots does so for calendars.
 *
 * - Slots keep their distance from now, modulo the interval, so that the slots of many workflows
 *   stay spread. The slots of the time that the clock goes through again have run already: a random
 *   part of a second keeps the new ones apart from them, because a slot runs at most once.
 * - A lease that ends later than a new one would is cut to the length of a new one. Its owner goes
 *   on to renew it. The lease of a lost worker expires in time. A retry keeps its delay.
 * - Locks: schedules, then jobs. A job that another transaction has locked is skipped: that
 *   transaction renews its lease or ends it.
 */
export async function anchorSchedules(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<{ after: string | undefined; count: number }> {
  const found = await db.execute<{ workflow_id: string }>(sql`
    SELECT /* anchorSchedules */ workflow_id FROM schedules WHERE workflow_id > ${after} AND ${IS_TOO_FAR}
    ORDER BY workflow_id LIMIT ${limit}`);
  if (found.length === 0) return { after: undefined, count: 0 };
  const ids = found.map((row) => row.workflow_id);
  const anchored = await db.transaction(async (tx) => {
    const schedules = await tx.execute<{ last_job_id: string | null }>(sql`
    WITH /* anchorSchedules */ locked AS MATERIALIZED (
      SELECT workflow_id FROM schedules WHERE workflow_id = ANY(${array(ids, 'uuid')}) AND ${IS_TOO_FAR}
      ORDER BY workflow_id FOR UPDATE
    ), anchored AS (
      UPDATE schedules SET wake_at = now(),
        last_slot_at = CASE WHEN last_slot_at > now() AND calendar_id IS NULL THEN now() ELSE last_slot_at END,
        next_run_at = CASE WHEN next_run_at > now() + make_interval(mins => interval_minutes)
          THEN now() + make_interval(secs => random() +
            mod(extract(epoch FROM next_run_at - now()), interval_minutes * 60)::float8)
          ELSE next_run_at END
      FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING last_job_id
    )
    SELECT last_job_id FROM anchored`);
    await eachDayOf(tx, lastJobs(schedules), (jobs, ofDay) =>
      tx.execute(sql`
    WITH /* anchorSchedules */ active AS MATERIALIZED (
      SELECT id FROM ${jobs} WHERE id = ANY(${array(ofDay, 'uuid')}) AND completed_at IS NULL
      ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE ${jobs} SET updated_at = least(updated_at, now()), retry_at = retry_at - greatest(updated_at - now(), interval '0'),
      lease_expires_at = CASE WHEN lease_expires_at > ${LEASE_END} THEN ${LEASE_END} ELSE lease_expires_at END
    FROM active WHERE jobs.id = ANY(ARRAY[active.id])`),
    );
    return schedules;
  });
  return { after: found.length < limit ? undefined : ids.at(-1), count: anchored.length };
}

function lastJobs(schedules: { last_job_id: string | null }[]): string[] {
  return schedules.flatMap((schedule) => schedule.last_job_id ?? []);
}

/** The same for the leases of builds: a lost worker's build is found in time. */
export async function shortenBuildLeases(db: Db): Promise<void> {
  await db.execute(sql`
    WITH /* shortenBuildLeases */ locked AS MATERIALIZED (
      SELECT id FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at > ${LEASE_END}
      ORDER BY id FOR UPDATE
    )
    UPDATE builds SET lease_expires_at = ${LEASE_END}
    WHERE id = ANY(ARRAY(SELECT id FROM locked))`);
}
