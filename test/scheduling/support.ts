import { and, eq } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { type ClaimedJob, claimJobs } from '../../db/jobs/claim.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { schedules } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';

export async function heartbeat(
  db: Db,
  userId: string,
  changes: { failuresAllowed?: number; intervalMinutes?: number } = {},
) {
  const { workflow } = await createWorkflow(db, {
    userId,
    name: 'test',
    payload: { kind: 'HEARTBEAT' },
    intervalMinutes: changes.intervalMinutes ?? 1,
    maxConsecutiveJobFailuresAllowed: changes.failuresAllowed ?? 3,
  });
  return workflow;
}

/**
 * Does the work of a scheduling worker that has watched for long, until nothing is left to do.
 * Returns the jobs that it dispatches.
 */
export async function schedule(db: Db, { watchedSeconds = Number.POSITIVE_INFINITY } = {}): Promise<string[]> {
  const dispatched: string[] = [];
  for (let again = true; again; ) {
    const { effects, others } = await queueDueSlots(db, { limit: 100 });
    const reconciled = await reconcileSchedules(db, others, { watchedSeconds: () => watchedSeconds });
    dispatched.push(...[...effects.dispatched, ...reconciled.effects.dispatched].map((job) => job.id));
    again = effects.dispatched.length > 0 || reconciled.again;
  }
  return dispatched;
}

export async function claim(db: Db, ids: string[], engineId?: string): Promise<ClaimedJob[]> {
  return (await claimJobs(db, ids, { owner: 'test', ...(engineId === undefined ? {} : { engineId }) })).claimed;
}

export function end(db: Db, job: ClaimedJob, outcome: Pick<Outcome, 'status' | 'failureReason'>) {
  return endJobs(db, [{ ...job, logLineCount: 0, ...outcome }]);
}

/** Dispatches the next job and runs it to its end. */
export async function run(db: Db, outcome: Pick<Outcome, 'status' | 'failureReason'>): Promise<void> {
  const [job] = await claim(db, await schedule(db));
  if (job === undefined) throw new Error('No job was dispatched.');
  await end(db, job, outcome);
}

export async function scheduleOf(db: Db, workflowId: string) {
  const [row] = await db
    .select()
    .from(schedules)
    .where(and(eq(schedules.workflowId, workflowId)));
  return row;
}
