import { sql } from 'drizzle-orm';
import { timeOfId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import type { Db } from '../client.ts';
import { databaseNow } from '../lookup.ts';
import { changePartitions, dropPartition, type Partition, partitionOf, partitionsBefore } from '../partitions.ts';

/**
 * The partition of log_chunks for one day: the lines of jobs and builds created on that day (UTC).
 */
export type LogPartition = Partition;

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
  const now = await databaseNow(db); // the ids come from the database's clock too
  for (let day = 0; day <= daysAhead; day++) {
    const { name, from, until } = partitionOf('log_chunks', new Date(now.getTime() + day * DAY_MS));
    const [found] = await db.execute(sql`SELECT /* makeLogPartitions */ 1 FROM pg_class WHERE relname = ${name}`);
    if (found !== undefined) continue;
    await changePartitions(db, 'log_chunks', async (tx) => {
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
export function logPartitionsBefore(db: Db, { days }: { days: number }): Promise<LogPartition[]> {
  return partitionsBefore(db, 'log_chunks', { days });
}

/**
 * Drops the lines of a day whose jobs and builds are past retention. Resolves with whether none are
 * left: some may be in the default partition.
 */
export async function dropLogDay(db: Db, { from, until }: Pick<Partition, 'from' | 'until'>): Promise<boolean> {
  const [other] = await db.execute(sql`
    SELECT /* dropLogDay */ 1 FROM log_chunks_other WHERE source_id >= ${from} AND source_id < ${until} LIMIT 1`);
  if (other !== undefined) return false;
  const partition = partitionOf('log_chunks', timeOfId(from));
  const [found] = await db.execute(sql`SELECT /* dropLogDay */ 1 FROM pg_class WHERE relname = ${partition.name}`);
  return found === undefined || dropLogPartition(db, partition);
}

/** Drops the partition and its lines. Resolves with whether it is gone. */
export function dropLogPartition(db: Db, partition: LogPartition): Promise<boolean> {
  return dropPartition(db, 'log_chunks', partition);
}
