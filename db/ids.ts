import { type SQL, sql } from 'drizzle-orm';

/**
 * The smallest id that could be made `days` days ago, by the database's clock. Ids hold no time before 1970: nothing was made then, so a bound
 * before that is the one before every id.
 */
export function firstIdBefore(days: SQL): SQL {
  const ms = sql`greatest(0, extract(epoch FROM now() - make_interval(days => ${days})) * 1000)::bigint`;
  return sql`(lpad(to_hex(${ms}), 12, '0') || repeat('0', 20))::uuid`;
}
