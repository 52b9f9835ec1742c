import { and, eq, isNull, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { REQUESTED_JOBS_MAX, USER_LIMITS, type UserLimits } from '../../domain/limits.ts';
import { checkRequests, lockUser } from '../accounts/user-limits.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { withJobDay } from '../job-days.ts';
import { type JobRow, jobs, pings, runRequests, schedules, workflows } from '../schema.ts';

export type Requested =
  | { outcome: 'REQUESTED'; job: JobRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' | 'NOT_READY' | 'PUSH' | 'LIMIT_EXCEEDED' };

/**
 * Makes a PENDING job of a workflow with the trigger MANUAL. The scheduling worker dispatches it
 * when no other job of the workflow is active.
 *
 * It holds the lock of the schedule. So a termination either comes first and is visible here, or
 * sees the request and cancels it. Throws LimitExceeded if as many jobs of the user wait as the
 * limit allows. PUSH: it expects pings, and has nothing to run.
 */
export function runWorkflow(
  db: Db,
  {
    userId,
    id,
    requestedBy,
  }: { userId: string; id: string; requestedBy?: { userId: string; tokenName: string | null } },
  limits: UserLimits = USER_LIMITS,
): Promise<Requested> {
  const request = async (tx: Db): Promise<Requested> => {
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
    if (schedule.kind === 'HEARTBEAT' && (await tx.$count(pings, eq(pings.workflowId, id))) > 0)
      return { outcome: 'PUSH' };
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
      .set({ wakeAt: sql`now()`, requested: true }) // queueDueSlots explains the mark
      .where(eq(schedules.workflowId, id));
    const effects = { ...noEffects, changed: [{ userId, jobs: [job.id] }], wakeScheduler: true };
    return { outcome: 'REQUESTED', job, effects };
  };
  return withJobDay(db, () => db.transaction(request));
}
