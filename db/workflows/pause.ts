import { and, eq, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import type { Db } from '../client.ts';
import { schedules, type WorkflowRow, workflows } from '../schema.ts';
import { ensureSchedule, transactionMs } from './schedule.ts';
import { lockWorkflow } from './workflows.ts';

/**
 * Pauses. A paused workflow makes no slots; a job that is active goes on, and runs may be
 * requested.
 *
 * `workflows` says that a workflow is paused and why, `schedules` that its slots make no jobs. A
 * pause ends when `paused_until` has passed, or when resumeWorkflow sets it to now. The scheduling
 * worker then finds the first slot after that instant and clears the pause of the schedule
 * (endPauses in db/jobs/reconcile.ts). It locks schedules alone, so `workflows` keeps the pause:
 * isPaused tells whether it has ended.
 */

export type PauseChanged =
  | { outcome: 'CHANGED'; workflow: WorkflowRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' }
  /** The pause would end before it began; `now` is the time of the database. */
  | { outcome: 'UNTIL_PASSED'; now: string };

type Owned = { userId: string; id: string };

/**
 * Whether a pause has begun and not ended. For what people see, the clock of a process suffices.
 */
export function isPaused(
  { pausedAt, pausedUntil }: Pick<WorkflowRow, 'pausedAt' | 'pausedUntil'>,
  now = new Date(),
): boolean {
  return pausedAt !== null && (pausedUntil === null || pausedUntil > now);
}

/**
 * How many jobs in a row have failed. A pause for failures begins the count anew when it ends. If
 * it ends by itself, the next end of a job writes that down (endJobs).
 */
export function failuresInARow(workflow: WorkflowRow, now = new Date()): number {
  return workflow.pauseReason === 'FAILURES' && !isPaused(workflow, now) ? 0 : workflow.consecutiveJobFailuresCount;
}

/**
 * Pauses a workflow until an instant, or until it is resumed. Pausing a paused one changes its end
 * and its note; with the same ones it changes nothing.
 */
export function pauseWorkflow(
  db: Db,
  { until = null, note = null, ...key }: Owned & { until?: Date | null; note?: string | null },
): Promise<PauseChanged> {
  return db.transaction(async (tx): Promise<PauseChanged> => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    const now = new Date(await transactionMs(tx));
    if (until !== null && until <= now) return { outcome: 'UNTIL_PASSED', now: now.toISOString() };
    const isLive = isPaused(found, now);
    const isSame = found.pausedUntil?.getTime() === until?.getTime() && found.pauseNote === note;
    if (isLive && isSame) return { outcome: 'CHANGED', workflow: found, effects: noEffects };
    await ensureSchedule(tx, found);
    await tx
      .update(schedules)
      .set({ paused: true, pausedUntil: until, wakeAt: sql`now()` })
      .where(eq(schedules.workflowId, found.id));
    const [workflow] = await tx
      .update(workflows)
      .set({
        ...(isLive
          ? {}
          : {
              pausedAt: sql`now()`,
              pauseReason: 'REQUESTED',
              consecutiveJobFailuresCount: failuresInARow(found, now),
            }),
        pausedUntil: until,
        pauseNote: note,
        updatedAt: sql`now()`,
      })
      .where(eq(workflows.id, found.id))
      .returning();
    return changed(workflow);
  });
}

/**
 * Ends a pause now: the workflow goes on with its first slot after this. If it was paused because
 * too many jobs had failed, its count of failures begins anew. Resuming one that is not paused
 * changes nothing.
 */
export function resumeWorkflow(db: Db, key: Owned): Promise<PauseChanged> {
  return db.transaction(async (tx): Promise<PauseChanged> => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    if (!isPaused(found, new Date(await transactionMs(tx))))
      return { outcome: 'CHANGED', workflow: found, effects: noEffects };
    await tx
      .update(schedules)
      .set({ pausedUntil: sql`least(${schedules.pausedUntil}, now())`, wakeAt: sql`now()` })
      .where(and(eq(schedules.workflowId, found.id), schedules.paused));
    const [workflow] = await tx
      .update(workflows)
      .set({
        pausedAt: null,
        pausedUntil: null,
        pauseReason: null,
        pauseNote: null,
        ...(found.pauseReason === 'FAILURES' ? { consecutiveJobFailuresCount: 0 } : {}),
        updatedAt: sql`now()`,
      })
      .where(eq(workflows.id, found.id))
      .returning();
    return changed(workflow);
  });
}

function changed(workflow: WorkflowRow | undefined): PauseChanged {
  if (workflow === undefined) throw new Error('An update of a locked row returned none.');
  const { id, userId } = workflow;
  return {
    outcome: 'CHANGED',
    workflow,
    effects: { ...noEffects, changed: [{ userId, workflows: [id] }], wakeScheduler: true },
  };
}
