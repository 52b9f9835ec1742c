import { type SQL, sql } from 'drizzle-orm';

/**
 * The database makes ids whose order in time matters: the clocks of machines differ, and the newest
 * jobs of a workflow, retention and the place of a subscription go by such ids. The application
 * makes the others (domain/ids.ts).
 */

const MS = sql`floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`;

/** A new UUIDv7, `ms` milliseconds after now. */
export function newIdAfter(ms: SQL): SQL {
  return sql`(lpad(to_hex(${MS} + ${ms}), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid`;
}

/**
 * A new UUIDv7. The clock is read when the row is made, so ids made under a lock follow its order.
 */
export const NEW_ID: SQL = newIdAfter(sql`0`);

/**
 * New UUIDv7s for the rows of one statement, in the order of `n`, which counts from 1. ID_SET
 * selects the time and 62 random bits once; the 12 bits between differ, and overflow into the next
 * millisecond. Random bits for each row cost 2 of the 25 microseconds that a slot may take.
 */
export const ID_SET: SQL = sql`${MS} << 12 AS id_base, right(gen_random_uuid()::text, 17) AS id_end`;
export function idInSet(n: SQL): SQL {
  return sql`(overlay(lpad(to_hex(id_base + ${n}), 15, '0') PLACING '7' FROM 13 FOR 0) || id_end)::uuid`;
}

/**
 * The smallest id that could be made `days` days ago, by the clock of the database. Ids hold no
 * time before 1970, so an earlier bound is the one before every id.
 */
export function firstIdBefore(days: SQL): SQL {
  const ms = sql`greatest(0, extract(epoch FROM now() - make_interval(days => ${days})) * 1000)::bigint`;
  return sql`(lpad(to_hex(${ms}), 12, '0') || repeat('0', 20))::uuid`;
}
