import type { Db } from '../../db/client.ts';
import { lookThrough } from '../../db/logs/retention.ts';
import type { Partition } from '../../db/partitions.ts';

const JOBS_PER_LOOK = 10_000;

/**
 * Tells whether all jobs and builds of a day ended at least `days` days ago, so that a partition of
 * that day may go. This process's memory alone keeps how far it looked through a day's jobs. It
 * looks at each job once while the day is kept, and once more before the partition goes.
 */
export function createDayCheck({ db, days }: { db: Db; days: number }): {
  isClear(partition: Partition, signal: AbortSignal): Promise<boolean>;
} {
  // From the name of a partition to the last job that was looked at.
  const looked = new Map<string, string | undefined>();

  return {
    /**
     * Continues at the job that kept the day at the last look. When it comes to the end from there,
     * it looks at everything once more: a machine whose clock is behind may have made a job with an
     * earlier id since. (Ids follow the database's clock, but those of older versions did not.)
     */
    async isClear(partition, signal) {
      let isWhole = !looked.has(partition.name);
      while (!signal.aborted) {
        const look = await lookThrough(db, partition, {
          days,
          after: looked.get(partition.name),
          limit: JOBS_PER_LOOK,
        });
        looked.set(partition.name, look.to);
        if (look.found === 'KEPT') return false;
        if (look.found === 'MORE') continue;
        looked.delete(partition.name);
        if (isWhole) return true;
        isWhole = true;
      }
      looked.delete(partition.name);
      return false;
    },
  };
}
