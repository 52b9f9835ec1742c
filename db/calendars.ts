import { setImmediate } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { readStoredExpression } from '../domain/schedule/cron-expression.ts';
import { type Calendar, calendarKey, occurrencesAfter, occurrencesBefore } from '../domain/schedule/occurrences.ts';
import { TIME_ZONE_DATA } from '../domain/schedule/time-zone.ts';
import { array, arrayText, seconds } from './arrays.ts';
import type { Db } from './client.ts';
import { NEW_ID } from './ids.ts';
import { rowSet } from './row-set.ts';

/**
 * Calendars: when cron expressions run in a time zone, computed ahead. The schedules with the same
 * expressions and zone share a row, so the statement that makes jobs (db/jobs/dispatch.ts) reads
 * times and computes none.
 *
 * - A row has the last occurrence that has passed and those that follow, OCCURRENCES_MAX in all.
 *   More are added when REFILL_AT are left: an hour before they are missed with a run a minute.
 * - A schedule may run some time after its slots (schedules.delay_seconds). Its row begins that
 *   much earlier (kept_seconds, which a trigger of schedules sets), with KEPT_MAX more at most: a
 *   day of them with a run a minute.
 * - Occurrences come from the time-zone data of a process. A process with older data never writes
 *   over those of newer data. It goes on where they end, if nobody else does, and the row then
 *   counts as one of its own: a process with newer data computes it anew.
 * - A row that cannot be computed waits, and holds up no other one.
 * - Nothing refers to a row by a foreign key. A row that no schedule was given for a day, and that
 *   none has, is removed. So a transaction that gives a schedule a row either finds it used within
 *   half a day, or marks it as used, which locks it: the removal then sees the mark.
 */

const OCCURRENCES_MAX = 128;
const REFILL_AT = 64;
const KEPT_MAX = 1_500;
const KEPT_AT_FIRST = 16;
/** What the first user of a calendar computes. Scheduling computes the rest. */
const OCCURRENCES_AT_FIRST = 4;
/** For how long one step computes before others have their turn. */
const STEP_MS = 20;

/** The id of the row of a calendar, which is made if there is none. */
export async function calendarId(tx: Pick<Db, 'execute'>, calendar: Calendar, now: Date): Promise<string> {
  const key = calendarKey(calendar);
  const [used] = await tx.execute<{ id: string }>(sql`
    SELECT /* calendarId */ id FROM calendars WHERE key = ${key} AND used_at > now() - interval '12 hours'`);
  if (used) return used.id;
  const { occurrences, isLast } = occurrencesAround(calendar, now, { ahead: OCCURRENCES_AT_FIRST });
  const [row] = await tx.execute<{ id: string }>(sql`
    INSERT /* calendarId */ INTO calendars (id, key, expressions, time_zone, tz_version, occurrences, is_last, refill_at)
    VALUES (${NEW_ID}, ${key}, ${array(canonical(calendar), 'text')}, ${calendar.timeZone}, ${TIME_ZONE_DATA},
      ${array(occurrences.map(toText), 'timestamptz')}, ${isLast}, CASE WHEN NOT ${isLast}::boolean THEN now() END)
    ON CONFLICT (key) DO UPDATE SET used_at = now() RETURNING id`);
  if (row === undefined) throw new Error('An insert returned no row.');
  return row.id;
}

/**
 * The last occurrence at or before `now`, if there is one, and the next ones, `ahead` of them. With
 * `keptSeconds`, also those that have passed since then, and the last one before them.
 */
function occurrencesAround(
  calendar: Calendar,
  now: Date,
  { ahead, keptSeconds = 0 }: { ahead: number; keptSeconds?: number },
): { occurrences: Date[]; isLast: boolean } {
  const next = occurrencesAfter(calendar, now, ahead);
  return { occurrences: [...passedSince(calendar, now, keptSeconds), ...next], isLast: next.length < ahead };
}

function passedSince(calendar: Calendar, now: Date, keptSeconds: number): Date[] {
  const begin = new Date(now.getTime() - keptSeconds * 1_000);
  const before = occurrencesBefore(calendar, afterwards(begin), 1);
  if (keptSeconds === 0) return before;
  // Few at first: 1,500 occurrences of a rare expression reach over centuries, and take long.
  for (let count = KEPT_AT_FIRST; count < KEPT_MAX; count *= 2) {
    const passed = occurrencesAfter(calendar, begin, count).filter((at) => at <= now);
    if (passed.length < count) return [...before, ...passed];
  }
  return occurrencesBefore(calendar, afterwards(now), KEPT_MAX);
}

const afterwards = (date: Date) => new Date(date.getTime() + 1);

function canonical({ expressions }: Calendar): string[] {
  return expressions.map((expression) => expression.canonical);
}

const toText = (date: Date) => date.toISOString();

type CalendarRow = {
  id: string;
  expressions: string[];
  time_zone: string;
  now_ms: number;
  kept_seconds: number;
  /** The occurrences to keep, in milliseconds since 1970. */
  kept: number[] | null;
};

/** A calendar that this process cannot compute. */
export interface FailedCalendar {
  id: string;
  timeZone: string;
  error: unknown;
}

/**
 * Adds occurrences to at most `limit` calendars that have few left, up to OCCURRENCES_MAX. `count`
 * is how many it has looked at. Those that failed are looked at again later.
 */
export async function refillCalendars(
  db: Db,
  { limit }: { limit: number },
): Promise<{ count: number; failed: FailedCalendar[] }> {
  const due = await db.execute<CalendarRow>(sql`
    SELECT /* refillCalendars */ ${CALENDAR_COLUMNS}, (
      SELECT array_agg((extract(epoch FROM at) * 1000)::float8 ORDER BY at)
      FROM unnest(occurrences[greatest(width_bucket(now() - make_interval(secs => kept_seconds), occurrences),
        width_bucket(now(), occurrences) - ${KEPT_MAX}, 1):]) AS kept (at)) AS kept
    FROM calendars WHERE refill_at <= now() AND ${IS_OURS} ORDER BY refill_at LIMIT ${limit}`);
  const failed = await fillCalendars(db, due, OCCURRENCES_MAX);
  if (failed.length > 0)
    await db.execute(sql`
      WITH /* refillCalendars */ locked AS MATERIALIZED (
        SELECT id FROM calendars WHERE id = ANY(${array(idsOf(failed), 'uuid')}) AND refill_at <= now() ORDER BY id FOR NO KEY UPDATE
      )
      UPDATE calendars SET refill_at = now() + ${seconds(FAILED_SECONDS)} FROM locked WHERE calendars.id = ANY(ARRAY[locked.id])`);
  return { count: due.length, failed };
}

/**
 * Gives these calendars, which reach no further than now, their next occurrences: only a few, so
 * that the schedules that wait for them go on soon. refillCalendars adds the others, and returns
 * what failed.
 */
export async function extendCalendars(db: Db, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  const rows = await db.execute<CalendarRow>(sql`
    SELECT /* extendCalendars */ ${CALENDAR_COLUMNS}, NULL AS kept FROM calendars
    WHERE id = ANY(${array(ids, 'uuid')}) AND ${IS_OURS}`);
  await fillCalendars(db, rows, OCCURRENCES_AT_FIRST);
}

/**
 * Computes anew at most `limit` calendars, in the order of their ids, whose occurrences come from
 * older time-zone data, or begin in the future because the clock was set back. Returns the last id,
 * or undefined if there are no more.
 */
export async function recomputeCalendars(
  db: Db,
  { after: first, limit }: { after: string; limit: number },
): Promise<{ after: string | undefined; count: number }> {
  const stale = await db.execute<CalendarRow>(sql`
    SELECT /* recomputeCalendars */ ${CALENDAR_COLUMNS}, NULL AS kept FROM calendars
    WHERE id > ${first} AND (tz_version < ${TIME_ZONE_DATA} OR tz_version = ${TIME_ZONE_DATA} AND occurrences[1] > now())
    ORDER BY id LIMIT ${limit}`);
  const failed = await fillCalendars(db, stale, OCCURRENCES_MAX); // a refill returns them
  const after = stale.length < limit ? undefined : stale.at(-1)?.id;
  return { after, count: stale.length - failed.length };
}

const CALENDAR_COLUMNS = sql`id, expressions, time_zone, kept_seconds, (extract(epoch FROM now()) * 1000)::float8 AS now_ms`;

/** Or nobody with the newer data has gone on with it. */
const IS_OURS = sql`(tz_version <= ${TIME_ZONE_DATA} OR occurrences[cardinality(occurrences)] <= now())`;

/**
 * How long a calendar waits that cannot be computed: for another version of Chronoverse or Node.
 */
const FAILED_SECONDS = 600;

/**
 * Fills these calendars up to `countMax` from the last occurrence that has passed on. Others have
 * their turn between two calendars that take long. Returns those that failed.
 */
async function fillCalendars(db: Db, rows: CalendarRow[], countMax: number): Promise<FailedCalendar[]> {
  const filled: { id: string; occurrences: string; isLast: boolean }[] = [];
  const failed: FailedCalendar[] = [];
  let begunMs = performance.now();
  for (const row of rows) {
    try {
      const { occurrences, isLast } = filledUp(row, countMax);
      filled.push({ id: row.id, occurrences: arrayText(occurrences.map(toText), 'timestamptz'), isLast });
    } catch (error) {
      failed.push({ id: row.id, timeZone: row.time_zone, error });
    }
    if (performance.now() - begunMs < STEP_MS) continue;
    await setImmediate();
    begunMs = performance.now();
  }
  if (filled.length === 0) return failed;
  const ids = idsOf(filled);
  await db.execute(sql`
    WITH /* fillCalendars */ u AS MATERIALIZED (
      SELECT id, occurrences::timestamptz[] AS occurrences, is_last
      FROM ${rowSet('u', filled, { id: 'uuid', occurrences: 'text', isLast: 'boolean' })}
    ), locked AS MATERIALIZED (
      SELECT id FROM calendars WHERE id = ANY(${array(ids, 'uuid')}) AND ${IS_OURS} ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE calendars SET occurrences = u.occurrences, is_last = u.is_last, tz_version = ${TIME_ZONE_DATA},
      refill_at = CASE WHEN NOT u.is_last THEN u.occurrences[greatest(cardinality(u.occurrences) - ${REFILL_AT}, 1)] END
    FROM u JOIN locked USING (id) WHERE calendars.id = ANY(ARRAY[u.id])`);
  return failed;
}

const idsOf = (rows: { id: string }[]) => rows.map(({ id }) => id);

function filledUp(row: CalendarRow, countMax: number): { occurrences: Date[]; isLast: boolean } {
  const { expressions, time_zone: timeZone, now_ms: nowMs, kept_seconds: keptSeconds, kept } = row;
  const calendar = { expressions: expressions.map((text) => readStoredExpression(text)), timeZone };
  const ahead = countMax - 1;
  const last = kept?.at(-1);
  if (!kept || last === undefined || last <= nowMs)
    return occurrencesAround(calendar, new Date(nowMs), { ahead, keptSeconds });
  const count = ahead - kept.filter((ms) => ms > nowMs).length;
  const next = occurrencesAfter(calendar, new Date(last), count);
  return { occurrences: [...kept.map((ms) => new Date(ms)), ...next], isLast: next.length < count };
}

/** Removes the calendars that no schedule has and that none was given for a day. */
export async function removeUnusedCalendars(db: Db): Promise<number> {
  const removed = await db.execute(sql`
    DELETE /* removeUnusedCalendars */ FROM calendars WHERE id = ANY(ARRAY(
        SELECT id FROM calendars WHERE used_at < now() - interval '1 day'
          AND NOT EXISTS (SELECT FROM schedules WHERE calendar_id = calendars.id)
        ORDER BY id FOR UPDATE SKIP LOCKED))
      AND used_at < now() - interval '1 day' RETURNING 1`);
  return removed.length;
}
