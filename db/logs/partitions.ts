import { sql } from 'drizzle-orm';
import { firstIdAt } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import type { Db } from '../client.ts';
import { databaseNow } from '../lookup.ts';

/**
 * The partition of log_chunks for one day: the lines of jobs and builds created on that day (UTC).
 * Their ids are at least `from` and below `until`.
 */
export interface LogPartition {
  name: string;
  from: string;
  until: string;
}

/**
 * Holds the lines of days without a partition: it was never made, or was dropped before they came.
 */
export const OTHER_LOG_PARTITION = 'log_chunks_other';

/**
 * Makes the partitions of log_chunks for today and the `daysAhead` days after it. If one cannot be
 * made now, the next call tries again. Until then the lines of that day go to the default
 * partition; once it holds any, the day gets no partition of its own any more.
 */
export async function makeLogPartitions(db: Db, { daysAhead }: { daysAhead: number }): Promise<void> {
  // The ids come from the database's clock too.
  const today = Math.floor((await databaseNow(db)).getTime() / DAY_MS) * DAY_MS;
  for (let day = 0; day <= daysAhead; day++) {
    const { name, from, until } = partitionOf(new Date(today + day * DAY_MS));
    const [found] = await db.execute(sql`SELECT /* makeLogPartitions */ 1 FROM pg_class WHERE relname = ${name}`);
    if (found !== undefined) continue;
    await changePartitions(db, async (tx) => {
      const [inTheWay] = await tx.execute(sql`
        SELECT /* makeLogPartitions */ 1 FROM log_chunks_other WHERE source_id >= ${from} AND source_id < ${until} LIMIT 1`);
      if (inTheWay !== undefined) return; // the lines of this day stay in the default partition
      await tx.execute(
        sql.raw(
          `CREATE TABLE IF NOT EXISTS ${name} PARTITION OF log_chunks FOR VALUES FROM ('${from}') TO ('${until}')`,
        ),
      );
    });
  }
}

/** The partitions of days that ended at least `days` days ago, oldest first. */
export async function logPartitionsBefore(db: Db, { days }: { days: number }): Promise<LogPartition[]> {
  const rows = await db.execute<{ day: string }>(sql`
    SELECT /* logPartitionsBefore */ to_date(right(relname, 8), 'YYYYMMDD')::text AS day FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'log_chunks'::regclass AND relname ~ '^log_chunks_[0-9]{8}$'
      AND to_date(right(relname, 8), 'YYYYMMDD') + 1 <= now() AT TIME ZONE 'UTC' - make_interval(days => ${days})
    ORDER BY relname`);
  return rows.map(({ day }) => partitionOf(new Date(`${day}T00:00:00Z`)));
}

/**
 * Drops the partition and its lines. Resolves with whether it is gone. PostgreSQL frees the disk
 * space after it has released the locks.
 */
export async function dropLogPartition(db: Db, { name }: LogPartition): Promise<boolean> {
  return changePartitions(db, (tx) => tx.execute(sql.raw(`DROP TABLE IF EXISTS ${name}`)));
}

/** The partition of a day like "20261129". */
export function logPartitionOf(day: string): LogPartition {
  return partitionOf(new Date(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T00:00:00Z`));
}

function partitionOf(day: Date): LogPartition {
  return {
    name: `log_chunks_${day.toISOString().slice(0, 10).replaceAll('-', '')}`,
    from: firstIdAt(day),
    until: firstIdAt(new Date(day.getTime() + DAY_MS)),
  };
}

/**
 * Changes the set of partitions. Resolves with false if that is not possible now. The change takes
 * an exclusive lock of log_chunks. Readers and writers of lines queue behind a session that waits
 * for this lock: behind a long statement, such as a backup, all of them would stop. So it waits for
 * at most LOCK_MS_MAX. PostgreSQL refuses DETACH CONCURRENTLY, which would block no session, if
 * there is a default partition.
 */
async function changePartitions(db: Db, change: (tx: Pick<Db, 'execute'>) => Promise<unknown>): Promise<boolean> {
  try {
    return await db.transaction(async (tx) => {
      // Another worker may be changing the partitions. Only this call waits for it.
      await tx.execute(sql.raw(`SET LOCAL lock_timeout = ${TURN_MS_MAX}`));
      await tx.execute(sql`SELECT /* changePartitions */ pg_advisory_xact_lock(hashtext('log_chunks partitions'))`);
      await tx.execute(sql.raw(`SET LOCAL lock_timeout = ${LOCK_MS_MAX}`));
      await change(tx);
      return true;
    });
  } catch (error) {
    if (isLockTimeout(error)) return false;
    throw error;
  }
}

const LOCK_MS_MAX = 200;
const TURN_MS_MAX = 5_000;

function isLockTimeout(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error && 'code' in cause && cause.code === '55P03';
}
