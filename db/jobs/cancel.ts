import { and, eq, isNull, sql } from 'drizzle-orm';
import { REQUESTED_JOBS_MAX, USER_LIMITS, type UserLimits } from '../../domain/limits.ts';
import { checkRequests, lockUser } from '../accounts/user-limits.ts';
import { countEnded } from '../analytics.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { isKept } from '../lookup.ts';
import { type JobRow, jobs, runRequests, schedules, workflows } from '../schema.ts';
import { wakeWaiting } from './dispatch.ts';

type Owned = { userId: string; id: string };

export type Requested =
  | { outcome: 'REQUESTED'; job: JobRow }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' | 'NOT_READY' | 'LIMIT_EXCEEDED' };

/**
 * A MANUAL job of a workflow, PENDING: the scheduling worker hands it out when no other job of the workflow is active. Under the
 * lock of the schedule, so that a termination either comes first and is seen, or sees the request and cancels it. Throws
 * LimitExceeded where as many jobs of its user wait as may.
 */
export async function runWorkflow(
  db: Db,
  { userId, id, requestedBy }: Owned & { requestedBy?: { userId: string; tokenName: string | null } },
  limits: UserLimits = USER_LIMITS,
): Promise<Requested> {
  return db.transaction(async (tx): Promise<Requested> => {
    await lockUser(tx, userId);
    const [schedule] = await tx
      .select()
      .from(schedules)
      .where(and(eq(schedules.workflowId, id), eq(schedules.userId, userId)))
      .for('update');
    if (schedule?.state === 'BLOCKED') return { outcome: 'NOT_READY' };
    if (schedule?.state !== 'READY') {
      const [workflow] = await tx
        .select({ terminatedAt: workflows.terminatedAt })
        .from(workflows)
        .where(and(eq(workflows.id, id), eq(workflows.userId, userId), isNull(workflows.purgeRequestedAt)));
      if (workflow === undefined) return { outcome: 'NOT_FOUND' };
      return { outcome: workflow.terminatedAt === null ? 'NOT_READY' : 'TERMINATED' };
    }
    const waiting = await tx.$count(runRequests, eq(runRequests.workflowId, id));
    if (waiting >= REQUESTED_JOBS_MAX) return { outcome: 'LIMIT_EXCEEDED' };

    const [job] = await tx
      .insert(jobs)
      .values({
        id: NEW_ID,
        workflowId: id,
        userId,
        kind: schedule.kind,
        trigger: 'MANUAL',
        status: 'PENDING',
        generation: schedule.generation,
        scheduledAt: sql`now()`,
        requestedBy: requestedBy?.userId ?? null,
        requestedWith: requestedBy?.tokenName ?? null,
      })
      .returning();
    if (job === undefined) throw new Error('An insert returned no row.');
    await tx.insert(runRequests).values({ jobId: job.id, workflowId: id, userId, kind: schedule.kind });
    await checkRequests(tx, { userId, kind: schedule.kind }, limits);
    await tx
      .update(schedules)
      .set({ wakeAt: sql`now()`, requested: true }) // the mark: see queueDueSlots
      .where(eq(schedules.workflowId, id));
    return { outcome: 'REQUESTED', job };
  });
}

export type JobCanceled = { outcome: 'CANCELED' | 'STOPPING'; job: JobRow } | { outcome: 'NOT_FOUND' | 'ENDED' };

/** PENDING, QUEUED -> CANCELED at once. A RUNNING one is marked: its worker stops it, then it is CANCELED. */
export async function cancelJob(db: Db, { userId, id }: Owned): Promise<JobCanceled> {
  const ofUser = and(eq(jobs.id, id), eq(jobs.userId, userId));
  const result = await db.transaction(async (tx): Promise<JobCanceled> => {
    const [found] = await tx
      .select({ workflowId: jobs.workflowId })
      .from(jobs)
      .where(and(ofUser, isKept(jobs.workflowId)));
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    await tx.execute(sql`SELECT /* cancelJob */ FROM schedules WHERE workflow_id = ${found.workflowId} FOR UPDATE`); // before the job's lock
    const [job] = await tx
      .update(jobs)
      .set({
        status: sql`CASE WHEN ${jobs.status} = 'RUNNING' THEN 'RUNNING' ELSE 'CANCELED' END`,
        completedAt: sql`CASE WHEN ${jobs.status} = 'RUNNING' THEN NULL ELSE now() END`,
        cancelRequestedAt: sql`CASE WHEN ${jobs.status} = 'RUNNING' THEN coalesce(${jobs.cancelRequestedAt}, now()) END`,
        updatedAt: sql`now()`,
        logOpen: sql`status <> 'RUNNING' AND attempt > 0`,
      })
      .where(and(ofUser, sql`${jobs.completedAt} IS NULL`))
      .returning();
    if (job === undefined) return { outcome: 'ENDED' };
    if (job.status === 'CANCELED') await countEnded(tx, [id]);
    await tx.delete(runRequests).where(eq(runRequests.jobId, id));
    return { outcome: job.status === 'RUNNING' ? 'STOPPING' : 'CANCELED', job };
  });
  if (result.outcome === 'CANCELED') await wakeWaiting(db, [result.job.workflowId]);
  return result;
}
