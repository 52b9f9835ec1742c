import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { slotAhead } from './slots.ts';

/**
 * Finds the next slot anew for at most `limit` schedules with a calendar, in the order of their
 * ids, if it is to come: their calendars were computed anew (recomputeCalendars), or the clock was
 * set back. Slots that have passed stay as they are. Returns the last id, or undefined if there are
 * no more.
 *
 * A clock that goes back by a few seconds comes again to the last slot, which has run, and does not
 * run again. One that goes back over more slots than the last one runs them again: otherwise a
 * schedule would wait for longer than from one slot to the next.
 */
export async function replanSlots(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<{ after: string | undefined; count: number }> {
  const page = await db.execute<{ workflow_id: string; is_other: boolean }>(sql`
    SELECT /* replanSlots */ workflow_id, ${IS_OTHER} AS is_other FROM schedules s ${PLANNED}
    WHERE workflow_id > ${after} AND ${IS_TO_COME} ORDER BY workflow_id LIMIT ${limit}`);
  const ids = page.filter((row) => row.is_other).map((row) => row.workflow_id);
  const last = page.length < limit ? undefined : page.at(-1)?.workflow_id;
  if (ids.length === 0) return { after: last, count: 0 };
  const replanned = await db.execute(sql`
    WITH /* replanSlots */ locked AS MATERIALIZED (
      SELECT workflow_id, next_run_at, last_slot_at, calendar_id, starts_at, ends_at FROM schedules
      WHERE workflow_id = ANY(${array(ids, 'uuid')}) AND ${IS_TO_COME} ORDER BY workflow_id FOR UPDATE
    ), planned AS MATERIALIZED (
      SELECT workflow_id, planned_at FROM locked s ${PLANNED} WHERE ${IS_OTHER}
    )
    UPDATE schedules SET next_run_at = planned_at, wake_at = now() FROM planned
    WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) RETURNING 1`);
  return { after: last, count: replanned.length };
}

const IS_TO_COME = sql`calendar_id IS NOT NULL AND next_run_at > now()`;

const HAS_RUN = sql`width_bucket(s.last_slot_at, occurrences) - width_bucket(now(), occurrences) = 1`;

const PLANNED = slotAhead('s', sql`CASE WHEN ${HAS_RUN} THEN s.last_slot_at ELSE now() END`);

/** Without a first slot, the schedule begins behind what its calendar has. */
const IS_OTHER = sql`(first_at IS NOT NULL OR is_last) AND planned_at IS DISTINCT FROM next_run_at`;
