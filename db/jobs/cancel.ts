import { sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import type { Db } from '../client.ts';
import { cancelJobs } from '../ends/cancel-jobs.ts';
import { anyJobs, jobsOf } from '../lookup.ts';
import type { JobRow } from '../schema.ts';
import { wakeWaiting } from './dispatch.ts';

export type JobCanceled =
  | { outcome: 'CANCELED' | 'STOPPING'; job: JobRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'ENDED' };

/**
 * PENDING, QUEUED -> CANCELED at once. A RUNNING job is marked; it becomes CANCELED when its worker
 * has stopped it.
 */
export async function cancelJob(db: Db, { userId, id }: { userId: string; id: string }): Promise<JobCanceled> {
  const canceled = await db.transaction(async (tx): Promise<JobCanceled> => {
    const [found] = await jobsOf(tx, userId, [id]);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    // The schedule is locked before the job.
    await tx.execute(sql`SELECT /* cancelJob */ FROM schedules WHERE workflow_id = ${found.workflowId} FOR UPDATE`);
    const effects = await cancelJobs(tx, [id]);
    if (effects.changed.length === 0) return { outcome: 'ENDED' };
    await tx.execute(sql`DELETE /* cancelJob */ FROM run_requests WHERE job_id = ${id}`);
    const [job] = await anyJobs(tx, [id]);
    // The purge of its workflow came first, and has stopped it.
    if (job === undefined) return { outcome: 'NOT_FOUND' };
    return { outcome: job.status === 'RUNNING' ? 'STOPPING' : 'CANCELED', job, effects };
  });
  if (canceled.outcome !== 'CANCELED') return canceled;
  const wakeScheduler = (await wakeWaiting(db, [canceled.job.workflowId])) > 0;
  return { ...canceled, effects: mergeEffects(canceled.effects, { ...noEffects, wakeScheduler }) };
}
