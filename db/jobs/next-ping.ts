import { type SQL, sql } from 'drizzle-orm';
import { slotAhead } from './slots.ts';

/**
 * When the next ping is expected, behind a ping or a change: at the first slot after now. An
 * interval begins with what came last, so its first slot is one interval from now.
 *
 * It follows the FROM item `schedule`, as slotAhead does, and adds `next_slot`: null if none comes.
 * If `is_unknown`, its calendar must have more occurrences first, and nextPingAt
 * (db/workflows/push.ts) can tell.
 */
export function nextPing(schedule: string): SQL {
  const of = (column: string) => sql.raw(`${schedule}.${column}`);
  return sql`${slotAhead(schedule)}, LATERAL (
        SELECT CASE WHEN ${of('interval_minutes')} IS NULL THEN planned_at ELSE now() + make_interval(mins => ${of('interval_minutes')}) END AS next_slot,
          ${of('calendar_id')} IS NOT NULL AND first_at IS NULL AND is_last IS NOT TRUE AS is_unknown
      ) next`;
}

/**
 * Whether the end of a run is expected next, of a row of `pings`. The slot of the schedule is then
 * its start, and the delay the grace of the run.
 */
export const IS_AWAITED = sql`started_at IS NOT NULL AND ended_at IS NULL AND given_up_at IS NULL`;

/**
 * What is expected of pings when the slots up to now or up to the end of a pause are dropped. It
 * follows the FROM item `schedule`, and adds `expected`: nothing for a workflow that expects no
 * pings.
 */
export function expectedPing(schedule: string): SQL {
  return sql`LEFT JOIN LATERAL (
        SELECT start_grace_seconds, run_grace_seconds, CASE WHEN ${IS_AWAITED} THEN started_at END AS open_since
        FROM pings WHERE workflow_id = ANY(ARRAY[${sql.raw(schedule)}.workflow_id]) LIMIT 1
      ) expected ON true`;
}
