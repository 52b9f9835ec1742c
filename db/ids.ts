import { type SQL, sql } from 'drizzle-orm';

/**
 * The database makes the ids whose order in time matters, because the clocks of machines differ.
 * The newest jobs of a workflow, retention, and the position of a subscription depend on that
 * order. The application makes the other ids (domain/ids.ts).
 */

const MS = sql`floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`;

/** A new UUIDv7, `ms` milliseconds after now. */
export function newIdAfter(ms: SQL): SQL {
  return sql`(lpad(to_hex(${MS} + ${ms}), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid`;
}

/**
 * A new UUIDv7. It reads the clock when the row is made, so ids made under a lock follow its order.
 */
export const NEW_ID: SQL = newIdAfter(sql`0`);

/**
 * New UUIDv7s for the rows of one statement, in the order of `n`, which counts from 1. ID_SET
 * selects the time and 62 random bits once. The 12 bits between them differ, and overflow into the
 * next millisecond. Random bits for each row would cost 2 of the 25 microseconds that a slot may
 * take.
 */
export const ID_SET: SQL = sql`${MS} << 12 AS id_base, right(gen_random_uuid()::text, 17) AS id_end`;
export function idInSet(n: SQL): SQL {
  return sql`(overlay(lpad(to_hex(id_base + ${n}), 15, '0') PLACING '7' FROM 13 FOR 0) || id_end)::uuid`;
}

/**
 * The smallest id that could be made `days` days ago by the database's clock. Ids hold no time
 * before 1970; for an earlier bound, this is the smallest of all ids.
 */
export function firstIdBefore(days: SQL): SQL {
  const ms = sql`greatest(0, extract(epoch FROM now() - make_interval(days => ${days})) * 1000)::bigint`;
  return sql`(lpad(to_hex(${ms}), 12, '0') || repeat('0', 20))::uuid`;
}
