import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { firstIdBefore } from '../ids.ts';
import { deleteChunks } from '../logs/append.ts';
import { hasEndedFor } from '../logs/retention.ts';

/**
 * Removes jobs that have ended for `days` days, by the database's clock, `limit` of those after the
 * job `after` at most, and the lines that are left of them first, `chunks` at most. Resolves with
 * where to go on, undefined at the end. What two callers remove at once is removed once. What they
 * counted in the totals stays, and so do the notifications of them. The last job of a schedule may
 * go too: db/jobs/reconcile.ts takes one that is gone for one that has ended.
 */
export async function removeOldJobs(
  db: Db,
  { days, after, limit, chunks }: { days: number; after: string; limit: number; chunks: number },
): Promise<{ after: string | undefined; removed: number }> {
  const rows = await db.execute<{ id: string }>(sql`
    SELECT /* removeOldJobs */ id FROM jobs WHERE id > ${after} AND id < ${firstIdBefore(sql`${days}`)} AND ${hasEndedFor(sql`${days}`)}
    ORDER BY id LIMIT ${limit}`);
  const ids = rows.map(({ id }) => id);
  if (ids.length === 0) return { after: undefined, removed: 0 };
  // There may be more of them.
  if ((await deleteChunks(db, ids, { limit: chunks })) === chunks) return { after, removed: 0 };
  const removed = await db.execute(sql`
    DELETE /* removeOldJobs */ FROM jobs USING unnest(${array(ids, 'uuid')}) AS u (id) WHERE jobs.id = u.id RETURNING 1`);
  return { after: ids.length === limit ? ids.at(-1) : undefined, removed: removed.length };
}
