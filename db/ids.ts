import { type SQL, sql } from 'drizzle-orm';

/**
 * Ids whose order in time matters, among rows that several machines make, are made by the database: their clocks differ, and whatever goes by such
 * ids (the newest jobs of a workflow, retention, a subscription's place) would take what a slower one has made for old. The others are made
 * by the application (domain/ids.ts).
 */

const MS = sql`floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`;

/** A new UUIDv7, `ms` milliseconds after now. */
export function newIdAfter(ms: SQL): SQL {
  return sql`(lpad(to_hex(${MS} + ${ms}), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid`;
}

/** A new UUIDv7. The clock is read when the row is made: behind a lock that was waited for, ids are in the order in which it was held. */
export const NEW_ID: SQL = newIdAfter(sql`0`);

/**
 * For the rows of one statement: new UUIDv7s in the order of `n`, which counts from 1. What ID_SET selects, once, is the time and 62 random bits
 * for all of them; they differ by the 12 bits between, and go on in the next millisecond where those are used up. (Random bits for each
 * are 2 of the 25 microseconds that a slot may take.)
 */
export const ID_SET: SQL = sql`${MS} << 12 AS id_base, right(gen_random_uuid()::text, 17) AS id_end`;
export function idInSet(n: SQL): SQL {
  return sql`(overlay(lpad(to_hex(id_base + ${n}), 15, '0') PLACING '7' FROM 13 FOR 0) || id_end)::uuid`;
}

/**
 * The smallest id that could be made `days` days ago, by the database's clock. Ids hold no time before 1970: nothing was made then, so a bound
 * before that is the one before every id.
 */
export function firstIdBefore(days: SQL): SQL {
  const ms = sql`greatest(0, extract(epoch FROM now() - make_interval(days => ${days})) * 1000)::bigint`;
  return sql`(lpad(to_hex(${ms}), 12, '0') || repeat('0', 20))::uuid`;
}
