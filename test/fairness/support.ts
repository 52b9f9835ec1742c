import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { until } from '../support/time.ts';

/** The number of this user's jobs or builds in `status`. */
export async function countOf(db: Db, table: 'jobs' | 'builds', userId: string, status: string): Promise<number> {
  const [row] = await db.execute<{ count: number }>(sql`
    SELECT count(*)::integer AS count FROM ${sql.raw(table)} WHERE user_id = ${userId} AND status = ${status}`);
  return row?.count ?? 0;
}

/** Waits until exactly `count` of this user's jobs or builds are in `status`. */
export async function untilCount(
  db: Db,
  table: 'jobs' | 'builds',
  userId: string,
  status: string,
  count: number,
): Promise<void> {
  await until(`${count} ${table} ${status}`, async () =>
    (await countOf(db, table, userId, status)) === count ? true : undefined,
  );
}
