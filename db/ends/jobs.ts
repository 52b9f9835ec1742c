import { sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import type { JobStatus } from '../../domain/states.ts';
import { COUNT_ENDED } from '../analytics.ts';

/**
 * The columns that a statement returns of each job it changes: enough to count the job, to notify
 * its owner and to publish the change.
 */
export const CHANGED_COLUMNS = sql`jobs.id, jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
      jobs.failure_reason, jobs.failure_message, jobs.log_open`;

export type ChangedJob = {
  id: string;
  workflow_id: string;
  user_id: string;
  status: JobStatus;
  failure_reason: string | null;
  failure_message: string | null;
  log_open: boolean;
};

/**
 * CTEs for a statement that ends some of the jobs in its CTE `changed`. They add the ended jobs to
 * the totals.
 */
export const COUNT_CHANGED = sql`
    ended AS (
      SELECT * FROM changed WHERE status IN ('COMPLETED', 'FAILED', 'CANCELED')
    ), counted AS (${COUNT_ENDED})`;

/** The failures among these jobs. */
export function failureEffects(jobs: readonly ChangedJob[]): Effects {
  const failed = jobs.filter(({ status }) => status === 'FAILED');
  return {
    ...noEffects,
    failed: failed.map((job) => ({
      jobId: job.id,
      workflowId: job.workflow_id,
      userId: job.user_id,
      reason: job.failure_reason ?? '',
      message: job.failure_message ?? '',
      isRetried: false,
    })),
  };
}

/** The effects of a change of these jobs. */
export function jobEffects(jobs: readonly Pick<ChangedJob, 'id' | 'user_id' | 'log_open'>[]): Effects {
  return {
    ...noEffects,
    changed: jobs.map(({ id, user_id: userId }) => ({ userId, jobs: [id] })),
    logEnds: jobs.filter((job) => job.log_open).map(({ id }) => id),
  };
}
