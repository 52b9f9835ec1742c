import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { createUser } from '../../db/accounts/accounts.ts';
import { array } from '../../db/arrays.ts';
import * as calendars from '../../db/calendars.ts';
import type { Db } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { replanSlots } from '../../db/jobs/replan.ts';
import { notifyWatchedRuns } from '../../db/jobs/watched-runs.ts';
import * as pause from '../../db/workflows/pause.ts';
import * as schedule from '../../db/workflows/schedule.ts';
import { createWorkflow, lockWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID } from '../../domain/ids.ts';
import { type RunPolicyInput, toRunPolicy } from '../../domain/schedule/run-policy.ts';
import { calendarOf, type Schedule } from '../../domain/schedule/schedule.ts';
import { CONTAINER, type Drive, dispatched, ENGINE, HEARTBEAT, idsOf, make, SET, WATCHED } from './scenario-rows.ts';

const CRON = { expressions: ['* * * * *'], timeZone: 'UTC' };

async function newUser(db: Db): Promise<string> {
  const made = await createUser(db, { email: `${randomUUID()}@example.com`, passwordHash: 'a', administrator: false });
  if (typeof made === 'string') throw new Error(made);
  return made.id;
}

/** Workflows with calendars of their own, not in the order of their ids. */
async function makeScheduled(db: Db, userId: string, given: (n: number) => Schedule, policy: RunPolicyInput = {}) {
  const made: { id: string }[] = [];
  for (let n = 0; n < SET; n++) {
    const { workflow } = await createWorkflow(db, {
      userId,
      name: `test ${n}`,
      payload: HEARTBEAT,
      schedule: given(n),
      runPolicy: toRunPolicy(policy),
      maxConsecutiveJobFailuresAllowed: 1,
      onTooManyFailures: n < SET / 2 ? 'PAUSE' : 'TERMINATE',
    });
    made.unshift({ id: workflow.id });
  }
  return made;
}

export async function calendarsOf(db: Db, drive: Drive): Promise<void> {
  const userId = await newUser(db);
  const own = await makeScheduled(db, userId, (n) => ({ cron: { expressions: [`${n} * * * *`], timeZone: 'UTC' } }));
  await drive(calendars.calendarId, db, calendarOf({ expressions: ['7 7 * * *'], timeZone: 'UTC' }), new Date());
  const ofOwn = sql`id IN (SELECT calendar_id FROM schedules WHERE workflow_id = ANY(${array(idsOf(own), 'uuid')}))`;
  await db.execute(
    sql`UPDATE calendars SET time_zone = 'Mars/Olympus', refill_at = now(), occurrences = occurrences[:2] WHERE ${ofOwn}`,
  );
  await drive(calendars.refillCalendars, db, { limit: SET }); // each of them fails
  await db.execute(sql`UPDATE calendars SET time_zone = 'UTC', refill_at = now() WHERE ${ofOwn}`);
  await drive(calendars.refillCalendars, db, { limit: SET });
  const found = await db.execute<{ id: string }>(sql`SELECT id FROM calendars ORDER BY id DESC`);
  await drive(calendars.extendCalendars, db, idsOf(found));
  await db.execute(sql`UPDATE calendars SET tz_version = '2000a'`);
  await drive(calendars.recomputeCalendars, db, { after: NO_ID, limit: 100 });
  const ids = array(idsOf(own), 'uuid');
  await db.execute(
    sql`UPDATE schedules SET next_run_at = next_run_at + interval '1 day' WHERE workflow_id = ANY(${ids})`,
  );
  await drive(replanSlots, db, { after: NO_ID, limit: 100 });
  await db.execute(sql`UPDATE schedules SET next_run_at = now(), wake_at = now() WHERE workflow_id = ANY(${ids})`);
  await drive(queueDueSlots, db, { limit: 100 });
  await db.execute(sql`UPDATE calendars SET used_at = now() - interval '2 days'`);
  await drive(calendars.removeUnusedCalendars, db);

  const [first, second] = own;
  if (first === undefined || second === undefined) throw new Error('There are more workflows.');
  await drive(pause.pauseWorkflow, db, { userId, id: first.id });
  await drive(pause.resumeWorkflow, db, { userId, id: first.id });
  await drive(schedule.transactionMs, db);
  const changes = { schedule: { cron: CRON }, runPolicy: toRunPolicy({ overlap: 'SKIP' }) };
  await drive(updateWorkflow, db, { userId, id: second.id, ...changes });
  const [container] = await make(db, userId, CONTAINER, 1);
  await db.transaction(async (tx) => {
    const workflow = await lockWorkflow(tx, { userId, id: container?.id ?? '' });
    if (workflow === undefined) throw new Error('It was just made.');
    await drive(schedule.ensureSchedule, tx, workflow);
    await drive(schedule.timingOf, tx, workflow.id, { cron: CRON });
    await drive(schedule.changeSchedule, tx, workflow, { cron: CRON });
    const policy = toRunPolicy({ overlap: 'REPLACE' });
    await drive(schedule.changePolicy, tx, workflow, { policy, isPush: false });
  });
}

/**
 * Slots that are dropped, pauses that end, jobs that are replaced, and failures that are retried.
 */
export async function policiesOf(db: Db, drive: Drive): Promise<void> {
  const userId = await newUser(db);
  const hourly = () => ({ everyMinutes: 60 });
  const late = await makeScheduled(db, userId, hourly, { startWithinSeconds: 60 });
  const watched = await makeScheduled(db, userId, hourly, {
    lateAfterSeconds: 1,
    expectedMaxSeconds: 1,
    overlap: 'SKIP',
  });
  const { claimed: long } = await claimJobs(db, await dispatched(db, watched), { owner: 'test', engineId: ENGINE });
  await db.execute(sql`
    UPDATE jobs SET started_at = now() - interval '1 hour' WHERE id = ANY(${array(idsOf(long.slice(1)), 'uuid')})`);
  await db.execute(sql`
    UPDATE jobs SET scheduled_at = now() - interval '1 hour' WHERE id = ${long[0]?.id ?? ''}`);
  await drive(notifyWatchedRuns, db, { after: NO_ID, limit: 100 });
  const paused = await makeScheduled(db, userId, hourly);
  const replaced = await makeScheduled(db, userId, hourly, { overlap: 'REPLACE' });
  const skipped = await makeScheduled(db, userId, hourly, { overlap: 'SKIP' });
  await dispatched(db, [...replaced, ...skipped]);
  const all = array(idsOf([...late, ...paused, ...replaced, ...skipped]), 'uuid');
  await db.execute(sql`
    UPDATE schedules SET next_run_at = now() - interval '5 minutes', wake_at = now() WHERE workflow_id = ANY(${all})`);
  await db.execute(sql`UPDATE jobs SET queued_at = now() - interval '10 minutes' WHERE workflow_id = ANY(${all})`);
  await db.execute(sql`
    UPDATE schedules SET paused = true, paused_until = now() WHERE workflow_id = ANY(${array(idsOf(paused), 'uuid')})`);
  const { others } = await drive(queueDueSlots, db, { limit: 100 });
  const due = new Set(idsOf([...late, ...paused, ...replaced, ...skipped]));
  await drive(
    reconcileSchedules,
    db,
    others.filter((id) => due.has(id)),
    WATCHED,
  );

  const retry = { retry: { maxRetries: 1 } };
  const failing = [...(await makeScheduled(db, userId, hourly, retry)), ...(await makeScheduled(db, userId, hourly))];
  const { claimed } = await claimJobs(db, await dispatched(db, failing), { owner: 'test', engineId: ENGINE });
  const outcome = { status: 'FAILED', failureReason: 'EXIT_CODE', failureMessage: 'a', logLineCount: 0 } as const;
  await drive(
    endJobs,
    db,
    claimed.toReversed().map((job) => ({ ...job, ...outcome })),
  );
}
