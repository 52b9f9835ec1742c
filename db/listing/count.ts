import { type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Db } from '../client.ts';
import { named } from '../named.ts';

/**
 * How many rows of `table` meet the condition, or `max + 1` if they are more than `max`. The
 * statement gets the name of its caller.
 */
export async function countUpTo(
  db: Db,
  name: string,
  { table, condition, max }: { table: PgTable; condition: SQL | undefined; max: number },
): Promise<number> {
  const counted = db
    .select({ one: sql`1`.as('one') })
    .from(table)
    .where(condition)
    .limit(max + 1)
    .as('counted');
  const [row] = await named(name, db.select({ count: sql<number>`count(*)::integer` }).from(counted));
  return row?.count ?? 0;
}
