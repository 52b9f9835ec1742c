import type { Db } from '../../db/client.ts';
import { dropLogPartition, logPartitionsBefore, OTHER_LOG_PARTITION } from '../../db/logs/partitions.ts';
import { removeChunksOfWorkflows, removeOldChunks } from '../../db/logs/retention.ts';
import { LOG_RETENTION_DAYS } from '../../domain/limits.ts';
import { createDayCheck } from './day-check.ts';
import { inSteps } from './in-steps.ts';

const SOURCES_PER_STEP = 500;
const WORKFLOWS_PER_STEP = 50;
const JOBS_PER_WORKFLOW_AND_STEP = 20;
const CHUNKS_PER_STEP = 1_000; // up to 256 KiB each before compression
/**
 * How many days longer a day is kept for jobs that run on past its end. Dropping a partition is far
 * cheaper than deleting from it.
 */
const WAIT_DAYS = 1;

/** What a pass has removed. */
export interface Removed {
  partitions: number;
  chunks: number;
}

/**
 * Removes log lines that are older than their retention. When a pass stops in the middle, the next
 * one continues. Any number of workers may do this: what two of them remove at once is removed
 * once.
 *
 * The lines of a day go with its partition, when all jobs and builds of that day have ended long
 * enough ago (day-check.ts). Lines are deleted job by job when one job keeps a day for longer, when
 * they are in the default partition, and when their workflow keeps its lines for a shorter time.
 */
export function createLogRetention({ db, days = LOG_RETENTION_DAYS }: { db: Db; days?: number | undefined }): {
  pass(signal: AbortSignal): Promise<Removed>;
} {
  const { isClear } = createDayCheck({ db, days });
  return {
    async pass(signal) {
      const removed: Removed = { partitions: 0, chunks: 0 };
      const late = new Set((await logPartitionsBefore(db, { days: days + WAIT_DAYS })).map(({ name }) => name));
      const partly = [{ name: OTHER_LOG_PARTITION }];
      for (const partition of await logPartitionsBefore(db, { days })) {
        if (await isClear(partition, signal)) {
          // The partition is in use: the next pass tries again.
          if (!(await dropLogPartition(db, partition))) continue;
          removed.partitions += 1;
        } else if (late.has(partition.name)) partly.push(partition);
      }
      const limits = { days, limit: SOURCES_PER_STEP, chunks: CHUNKS_PER_STEP };
      for (const partition of partly)
        removed.chunks += await inSteps(signal, (after) => removeOldChunks(db, partition, { ...limits, after }));
      const ofWorkflows = { ...limits, workflows: WORKFLOWS_PER_STEP, limit: JOBS_PER_WORKFLOW_AND_STEP };
      removed.chunks += await inSteps(signal, (after) => removeChunksOfWorkflows(db, { ...ofWorkflows, after }));
      return removed;
    },
  };
}
