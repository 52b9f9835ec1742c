import { sql } from 'drizzle-orm';
import { array } from './arrays.ts';
import type { Db } from './client.ts';

/**
 * Where one attempt's lines end and the next one's begin. A worker that dies leaves lines on the bus of which nobody knows how many they
 * are, and which may have been delivered already; the next attempt's first line must have the number after them. So an attempt with
 * others before it first prints a seam to the same partition; whoever stores chunks comes to it when all that was printed before it is
 * stored, and settles the number; the attempt's lines wait in the engine's log until then. Chunks of earlier attempts that come after
 * the seam, from a worker that was frozen, are dropped (db/logs.ts). A seam that is settled again changes nothing.
 */
export async function settleSeams(db: Db, seams: { sourceId: string; attempt: number }[]): Promise<void> {
  if (seams.length === 0) return;
  const ids = array(
    seams.map(({ sourceId }) => sourceId),
    'uuid',
  );
  const attempts = array(
    seams.map(({ attempt }) => attempt),
    'integer',
  );
  for (const table of [sql`jobs`, sql`builds`]) {
    await db.execute(sql`
      UPDATE ${table} AS source SET log_attempt = u.attempt,
        log_line_count = (SELECT coalesce(max(last_number), 0) FROM log_chunks WHERE source_id = u.id)
      FROM (SELECT id, max(attempt) AS attempt FROM unnest(${ids}, ${attempts}) AS given (id, attempt) GROUP BY id) AS u
      WHERE source.id = u.id AND source.log_attempt < u.attempt AND source.completed_at IS NULL`);
  }
}

/** How many lines earlier attempts have printed; undefined until that is settled for `attempt`. */
export async function settledLines(db: Db, sourceId: string, attempt: number): Promise<number | undefined> {
  const [row] = await db.execute<{ lines: number }>(sql`
    SELECT log_line_count AS lines FROM jobs WHERE id = ${sourceId} AND log_attempt >= ${attempt}
    UNION ALL SELECT log_line_count FROM builds WHERE id = ${sourceId} AND log_attempt >= ${attempt}`);
  return row?.lines;
}
