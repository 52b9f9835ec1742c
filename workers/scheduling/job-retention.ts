import type { Db } from '../../db/client.ts';
import { detachJobDay, dropDetachedDays } from '../../db/job-days.ts';
import { removeOldJobs } from '../../db/jobs/retention.ts';
import { dropLogDay } from '../../db/logs/partitions.ts';
import { partitionsBefore } from '../../db/partitions.ts';
import { JOB_RETENTION_DAYS } from '../../domain/limits.ts';
import { createDayCheck } from './day-check.ts';
import { inSteps } from './in-steps.ts';

const JOBS_PER_STEP = 1_000;
const CHUNKS_PER_STEP = 1_000; // up to 256 KiB each before compression
/** Other processes know a day for a minute, and read it for some seconds. */
const DETACHED_MINUTES = 10;

/**
 * Removes jobs that ended longer ago than they are kept. A day whose jobs have all ended long
 * enough ago goes with its partition, and with the lines that are left of it. Jobs are deleted one
 * by one where another job keeps the day, and those from before there were days. When a pass stops
 * in the middle, the next one continues. Any number of workers may do this.
 */
export function createJobRetention({ db, days = JOB_RETENTION_DAYS }: { db: Db; days?: number | undefined }): {
  pass(signal: AbortSignal): Promise<{ days: number; jobs: number }>;
} {
  const { isClear } = createDayCheck({ db, days });
  return {
    async pass(signal) {
      const removed = { days: 0, jobs: 0 };
      for (const day of await partitionsBefore(db, 'jobs', { days })) {
        if (!(await isClear(day, signal))) continue;
        // What is in use now goes with the next pass.
        if ((await dropLogDay(db, day)) && (await detachJobDay(db, day))) removed.days += 1;
      }
      await dropDetachedDays(db, { minutes: DETACHED_MINUTES });
      const limits = { days, limit: JOBS_PER_STEP, chunks: CHUNKS_PER_STEP };
      removed.jobs = await inSteps(signal, (after) => removeOldJobs(db, { ...limits, after }));
      return removed;
    },
  };
}
