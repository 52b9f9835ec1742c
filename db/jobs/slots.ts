import { type SQL, sql } from 'drizzle-orm';

/**
 * The slots of a schedule up to an instant, computed by the database: no statement that makes jobs
 * waits for a process. It follows the FROM item `schedule`, which has next_run_at,
 * interval_minutes, calendar_id and ends_at, and adds `slots`.
 *
 * - `slot`: the last slot up to the instant. Slots in the past stay as they are when time-zone data
 *   changes, so it is never before next_run_at.
 * - `following`: the slot after that one; null if there is none.
 * - `passed`: how many slots before `slot` have passed unused. Where more of a calendar have passed
 *   than it has, at least that many.
 * - `exhausted`: the calendar must have more occurrences before this can be known
 *   (refillCalendars).
 */
export function slotsUntil(schedule: string, until: SQL): SQL {
  const of = (column: string) => sql.raw(`${schedule}.${column}`);
  const nextRunAt = of('next_run_at');
  return sql`LEFT JOIN LATERAL (
        SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[${of('calendar_id')}]) LIMIT 1
      ) calendar ON true, LATERAL (
        SELECT make_interval(mins => ${of('interval_minutes')}) AS every,
          width_bucket(least(${until}, ${of('ends_at')} - interval '1 microsecond'), occurrences) AS k OFFSET 0
      ) place, LATERAL (
        SELECT floor(date_part('epoch', ${until} - ${nextRunAt}) / date_part('epoch', every)) AS n OFFSET 0
      ) intervals, LATERAL (
        SELECT CASE WHEN n IS NULL THEN greatest(${nextRunAt}, occurrences[k]) ELSE ${nextRunAt} + every * n END AS slot,
          CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= ${of('ends_at')} THEN NULL ELSE occurrences[k + 1] END
            ELSE ${nextRunAt} + every * (n + 1) END AS following,
          CASE WHEN n IS NULL THEN greatest(k - width_bucket(${nextRunAt}, occurrences), 0) ELSE n::integer END AS passed,
          occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
      ) slots`;
}

/**
 * The first slot of a schedule with a calendar after `after`, which may use `occurrences`. It
 * follows the FROM item `schedule`, which has calendar_id, starts_at and ends_at, and adds
 * `planned_at`: null if none comes. If `first_at` is null and `is_last` is not true, the calendar
 * must have more occurrences before this can be known.
 */
export function slotAhead(schedule: string, after = sql`now()`): SQL {
  const of = (column: string) => sql.raw(`${schedule}.${column}`);
  return sql`
      LEFT JOIN LATERAL (
        SELECT occurrences[width_bucket(greatest(${after}, ${of('starts_at')} - interval '1 microsecond'), occurrences) + 1] AS first_at, is_last
        FROM calendars WHERE id = ANY(ARRAY[${of('calendar_id')}]) LIMIT 1
      ) calendar ON true, LATERAL (SELECT CASE WHEN first_at >= ${of('ends_at')} THEN NULL ELSE first_at END AS planned_at) planned`;
}
