import { type SQL, sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { eachDay } from '../job-days.ts';
import { IS_AWAITED, nextPing } from '../jobs/next-ping.ts';
import { rowSet, sortedById } from '../row-set.ts';

export interface MissedPing {
  /** The slot that no ping came for. */
  scheduledAt: Date;
  /** The start of the run whose end was missed, if it was that. */
  startedAt: Date | undefined;
}

/**
 * Tells what the jobs of push heartbeats have missed: a ping, or the end of a run. A run that has
 * not ended in time is given up: the next ping is expected at the first slot after now. Calling it
 * again for a job gives the same.
 *
 * A job belongs to a run if its slot lies in the run, which begins with the slot that /start sets.
 * A ping that ends the run between the making of the job and this changes nothing about that.
 */
export async function missPings(
  db: Db,
  missed: { id: string; workflowId: string }[],
): Promise<Map<string, MissedPing>> {
  const miss = (jobs: SQL, ofDay: typeof missed) => {
    const workflowIds = array(
      ofDay.map(({ workflowId }) => workflowId),
      'uuid',
    );
    return db.execute<{ id: string; scheduled_at: string; started_at: string | null }>(sql`
    WITH /* missPings */ locked AS MATERIALIZED (
      SELECT workflow_id, start_grace_seconds, run_grace_seconds, started_at, ended_at, given_up_at
      FROM pings WHERE workflow_id = ANY(${workflowIds}) ORDER BY workflow_id FOR UPDATE
    ), found AS MATERIALIZED (
      SELECT u.id, u.workflow_id, job.scheduled_at, start_grace_seconds, ${IS_AWAITED} AS is_open,
        CASE WHEN started_at <= job.scheduled_at AND job.scheduled_at < coalesce(ended_at, given_up_at, 'infinity')
          AND started_at + make_interval(secs => run_grace_seconds) <= now() THEN started_at END AS started_at
      FROM ${rowSet('u', sortedById(ofDay), { id: 'uuid', workflowId: 'uuid' })}
        LEFT JOIN locked ON locked.workflow_id = u.workflow_id,
        LATERAL (SELECT scheduled_at FROM ${jobs} WHERE id = ANY(ARRAY[u.id]) LIMIT 1) job
    ), given_up AS (
      UPDATE pings SET given_up_at = now() FROM found
      WHERE pings.workflow_id = ANY(ARRAY[found.workflow_id]) AND found.started_at IS NOT NULL AND is_open
      RETURNING pings.workflow_id, pings.start_grace_seconds
    ), schedule AS MATERIALIZED (
      SELECT workflow_id, interval_minutes, calendar_id, starts_at, ends_at, next_run_at
      FROM schedules WHERE workflow_id = ANY(ARRAY(SELECT workflow_id FROM given_up)) ORDER BY workflow_id FOR UPDATE
    ), planned AS MATERIALIZED (
      -- without its calendar, the slot that the making of the job has set
      SELECT s.workflow_id, CASE WHEN is_unknown THEN s.next_run_at ELSE next_slot END AS next_slot FROM schedule s ${nextPing('s')}
    ), moved AS (
      UPDATE schedules SET next_run_at = next_slot, delay_seconds = start_grace_seconds,
        wake_at = least(wake_at, next_slot + make_interval(secs => start_grace_seconds))
      FROM planned JOIN given_up USING (workflow_id)
      WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) AND schedules.state = 'READY'
    )
    SELECT id, scheduled_at, started_at FROM found`);
  };
  const rows = await eachDay(db, missed, ({ id }) => id, miss);
  return new Map(
    rows.map(({ id, scheduled_at: scheduledAt, started_at: startedAt }) => [
      id,
      { scheduledAt: new Date(scheduledAt), startedAt: startedAt === null ? undefined : new Date(startedAt) },
    ]),
  );
}
