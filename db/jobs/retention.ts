import { sql } from 'drizzle-orm';
import { firstIdAt } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { firstIdBefore } from '../ids.ts';
import { partitionsOfJobs } from '../job-days.ts';
import { deleteChunks } from '../logs/append.ts';
import { hasEndedFor } from '../logs/retention.ts';

/**
 * Removes jobs that ended at least `days` days ago by the database's clock: at most `limit` behind
 * the job `after`. It removes their remaining lines first, at most `chunks` chunks. Resolves with
 * where to continue, undefined at the end. Two concurrent callers remove each job once. The totals
 * of the jobs and their notifications stay. The last job of a schedule may be removed too:
 * db/jobs/reconcile.ts treats a missing job as ended.
 */
export async function removeOldJobs(
  db: Db,
  { days, after, limit, chunks }: { days: number; after: string; limit: number; chunks: number },
): Promise<{ after: string | undefined; count: number }> {
  const { now, partitions } = await partitionsOfJobs(db);
  const last = firstIdAt(new Date(now.getTime() - days * DAY_MS));
  for (const { name, from, until } of partitions) {
    if (until <= after || from > last) continue;
    const jobs = sql.raw(`${name} AS jobs`);
    const rows = await db.execute<{ id: string }>(sql`
    SELECT /* removeOldJobs */ id FROM ${jobs} WHERE id > ${after} AND id < ${firstIdBefore(sql`${days}`)} AND ${hasEndedFor(sql`${days}`)}
    ORDER BY id LIMIT ${limit}`);
    const ids = rows.map(({ id }) => id);
    if (ids.length === 0) continue;
    // There may be more chunks.
    if ((await deleteChunks(db, ids, { limit: chunks })) === chunks) return { after, count: 0 };
    const removed = await db.execute(sql`
    DELETE /* removeOldJobs */ FROM ${jobs} USING unnest(${array(ids, 'uuid')}) AS u (id) WHERE jobs.id = ANY(ARRAY[u.id]) RETURNING 1`);
    return { after: ids.at(-1), count: removed.length };
  }
  return { after: undefined, count: 0 };
}
