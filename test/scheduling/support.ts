import { and, eq, sql } from 'drizzle-orm';
import { array } from '../../db/arrays.ts';
import { extendCalendars, refillCalendars } from '../../db/calendars.ts';
import type { Db } from '../../db/client.ts';
import { type ClaimedJob, claimJobs } from '../../db/jobs/claim.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import { schedules } from '../../db/schema.ts';
import { createWorkflow } from '../../db/workflows/workflows.ts';
import { type RunPolicyInput, type TooManyFailuresAction, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import type { Schedule } from '../../domain/schedule/schedule.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import { letPass } from '../support/time.ts';

export async function heartbeat(
  db: Db,
  userId: string,
  changes: { failuresAllowed?: number; intervalMinutes?: number } = {},
) {
  return scheduled(db, userId, { everyMinutes: changes.intervalMinutes ?? 1 }, changes);
}

/** A HEARTBEAT with this schedule. */
export async function scheduled(
  db: Db,
  userId: string,
  given: Schedule,
  changes: {
    id?: string;
    failuresAllowed?: number;
    runPolicy?: RunPolicyInput;
    onTooManyFailures?: TooManyFailuresAction;
  } = {},
) {
  const { id, failuresAllowed = 3, runPolicy, onTooManyFailures = 'TERMINATE' } = changes;
  const { workflow } = await createWorkflow(db, {
    ...(id === undefined ? {} : { id }),
    userId,
    name: 'test',
    payload: { kind: 'HEARTBEAT' },
    schedule: given,
    maxConsecutiveJobFailuresAllowed: failuresAllowed,
    onTooManyFailures,
    runPolicy: runPolicy ? toRunPolicy(runPolicy) : null,
  });
  return workflow;
}

/**
 * Fills the calendar of a new workflow, and lets time pass until its next slot comes in 30 s: then
 * no minute begins within a test.
 */
export async function align(db: Db, id: string): Promise<void> {
  await refillCalendars(db, { limit: 10 });
  const nextRunAt = (await scheduleOf(db, id))?.nextRunAt?.getTime() ?? 0;
  await letPass(db, id, (nextRunAt - Date.now()) / 1_000 - 30);
}

/** Each minute, as a cron expression. */
export const EVERY_MINUTE: Schedule = { cron: { expressions: ['* * * * *'], timeZone: 'UTC' } };

/**
 * Does the work of a scheduling worker that has watched for long, until nothing is left to do.
 * Returns the jobs that it dispatches.
 */
export async function schedule(db: Db, { watchedSeconds = Number.POSITIVE_INFINITY } = {}): Promise<string[]> {
  const dispatched: string[] = [];
  for (let again = true; again; ) {
    const pass = await schedulingPass({ db, limit: 100, watchedSeconds: () => watchedSeconds });
    dispatched.push(...pass.effects.dispatched.map((job) => job.id));
    await extendCalendars(db, pass.exhausted);
    if (pass.exhausted.length > 0)
      await db.execute(sql`
        UPDATE schedules SET wake_at = now() WHERE calendar_id = ANY(${array(pass.exhausted, 'uuid')}) AND wake_at > now()`);
    again = pass.effects.dispatched.length > 0 || pass.again || pass.exhausted.length > 0;
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
