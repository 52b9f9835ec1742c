import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { array } from '../../db/arrays.ts';
import type { Db } from '../../db/client.ts';
import { cancelJobs, cancelRequests, removeRequests } from '../../db/ends/cancel-jobs.ts';
import { once } from '../../db/idempotency.ts';
import { anchorSchedules, databaseClockMs, shortenBuildLeases } from '../../db/jobs/anchor.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { type ClaimedJob, claimJobs, takeOverJobs } from '../../db/jobs/claim.ts';
import { markAwaited, nextWakeMs, queueDueSlots, wakeWaiting } from '../../db/jobs/dispatch.ts';
import { endJobs, type Outcome } from '../../db/jobs/finish.ts';
import * as leases from '../../db/jobs/leases.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { redispatchQueued } from '../../db/jobs/redispatch.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { NO_ID } from '../../domain/ids.ts';
import { type Drive, dispatched, ENGINE, HEARTBEAT, idsOf, make, SET, WATCHED } from './scenario-rows.ts';

export async function jobsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = array(idsOf(own), 'uuid');
  const outcome = (job: ClaimedJob, rest: Pick<Outcome, 'status' | 'failureReason'>): Outcome => ({
    ...job,
    logLineCount: 0,
    ...rest,
  });
  const claimAll = async () => {
    const { claimed } = await claimJobs(db, await dispatched(db, own), { owner: 'test', engineId: ENGINE });
    return claimed.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  };

  await drive(queueDueSlots, db, { limit: 100 });
  await drive(nextWakeMs, db);
  await db.execute(sql`UPDATE users SET notification_preference = 'ALL' WHERE id = ${userId}`);
  const queued = await db.execute<{ id: string }>(
    sql`SELECT id FROM jobs WHERE workflow_id = ANY(${ids}) ORDER BY id DESC`,
  );
  const { claimed: first } = await drive(claimJobs, db, idsOf(queued), { owner: 'test', engineId: ENGINE });
  const held = first.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(leases.renewLeases, db, held);
  await drive(leases.releaseJobs, db, held);
  const taken = await drive(
    takeOverJobs,
    db,
    held.map(({ id, attempt }) => ({ id, attempt })),
    { owner: 'other', engineId: ENGINE },
  );
  const reversed = taken.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  await drive(
    endJobs,
    db,
    reversed.map((job) => outcome(job, { status: 'COMPLETED' })),
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'FAILED', failureReason: 'EXIT_CODE' })),
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'COMPLETED' })), // after a failure: counted
  );
  await drive(
    endJobs,
    db,
    (await claimAll()).map((job) => outcome(job, { status: 'CANCELED' })),
  );
  const running = await claimAll();
  await db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE id = ${running[0]?.id}`);
  await drive(leases.returnJobs, db, running.slice(0, 3));
  await drive(leases.queueReturned, db, running[1]?.id ?? '');
  await drive(leases.returnJobs, db, running.slice(3), { counted: true });
  await drive(markAwaited, db, idsOf(running).reverse());
  await drive(wakeWaiting, db, idsOf(own));

  // Requested runs, with every kind of end.
  const [workflow] = own;
  const id = workflow?.id ?? '';
  const call = (key: string) => ({
    userId,
    mutation: 'runWorkflow' as const,
    key,
    inputDigests: [randomBytes(32)] as [Buffer],
  });
  const key = randomUUID();
  const run = (tx: Db) => runWorkflow(tx, { userId, id });
  await drive(once<Awaited<ReturnType<typeof run>>>, db, call(key), run, (result) =>
    result.outcome === 'REQUESTED' ? result.job.id : undefined,
  );
  await drive(once<Awaited<ReturnType<typeof run>>>, db, call(key), run, () => undefined);
  await drive(
    once<string>,
    db,
    call(randomUUID()),
    async () => 'refused',
    () => undefined,
  );
  const asked = await drive(runWorkflow, db, { userId, id });
  if (asked.outcome !== 'REQUESTED') throw new Error(asked.outcome);
  await drive(cancelJob, db, { userId, id: asked.job.id });
  await drive(cancelJob, db, { userId, id: running.at(-1)?.id ?? '' });
  for (const { id: other } of own) await runWorkflow(db, { userId, id: other });
  const removed = await drive(removeRequests, db, idsOf(own.slice(1)));
  await drive(cancelJobs, db, removed.toReversed());
  await drive(cancelRequests, db, idsOf(own));
}

export async function reconcileOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT, SET * 6);
  const { claimed } = await claimJobs(db, await dispatched(db, own), { owner: 'test', engineId: ENGINE });
  const group = (n: number) => own.slice(n * SET, (n + 1) * SET);
  const of = (n: number) => array(idsOf(group(n)), 'uuid');
  const jobs = (n: number) => sql`id IN (SELECT last_job_id FROM schedules WHERE workflow_id = ANY(${of(n)}))`;
  const lose = (n: number) =>
    db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 hour' WHERE ${jobs(n)}`);
  if (claimed.length !== own.length) throw new Error(`Of ${own.length} jobs ${claimed.length} were claimed.`);
  await lose(0); // these will be returned
  await lose(1); // these will fail
  await db.execute(sql`UPDATE jobs SET attempt = 3 WHERE ${jobs(1)}`);
  await lose(2); // these will be canceled
  await db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE ${jobs(2)}`);
  await leases.returnJobs(
    db,
    claimed.filter((job) => group(3).some(({ id }) => id === job.workflowId)),
  );
  await db.execute(sql`UPDATE jobs SET updated_at = now() - interval '1 hour' WHERE ${jobs(3)}`);
  // Dispatched when the job of the slot has ended.
  for (const { id } of group(4)) await runWorkflow(db, { userId, id });
  await endJobs(
    db,
    claimed
      .filter((job) => [...group(4), ...group(5)].some(({ id }) => id === job.workflowId))
      .map((job) => ({ ...job, status: 'COMPLETED', logLineCount: 0 })),
  );
  for (const { id } of group(5)) await runWorkflow(db, { userId, id }); // these will be removed
  await db.execute(
    sql`UPDATE schedules SET state = 'TERMINATED', next_run_at = NULL WHERE workflow_id = ANY(${of(5)})`,
  );
  await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE workflow_id = ANY(${array(idsOf(own), 'uuid')})`);
  const { others } = await drive(queueDueSlots, db, { limit: 100 });
  // Others may be due too. The number of rows that a statement may read is for a set of this size.
  const due = new Set(idsOf(own));
  await drive(
    reconcileSchedules,
    db,
    others.filter((id) => due.has(id)),
    WATCHED,
  );
}

export async function recallOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  const ids = array(await dispatched(db, own), 'uuid');
  await db.execute(sql`UPDATE jobs SET updated_at = now() - interval '10 minutes' WHERE id = ANY(${ids})`);
  await db.execute(sql`UPDATE schedules SET wake_at = now() + interval '5 minutes' WHERE last_job_id = ANY(${ids})`);
  const { next } = await drive(redispatchQueued, db, { after: undefined, limit: 3 });
  await drive(redispatchQueued, db, { after: next, limit: 10 });
}

/** The clock was set back: every schedule of the set is too far off. */
export async function anchorOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own = await make(db, userId, HEARTBEAT);
  await dispatched(db, own);
  const ids = array(idsOf(own), 'uuid');
  await db.execute(sql`
    UPDATE schedules SET next_run_at = next_run_at + interval '1 day', wake_at = wake_at + interval '1 day' WHERE workflow_id = ANY(${ids})`);
  await drive(databaseClockMs, db);
  const [first = NO_ID] = idsOf(own).toSorted(); // those before it belong to others
  await drive(anchorSchedules, db, { after: first, limit: 100 });
  await drive(shortenBuildLeases, db);
  // Now due, they would come into the passes of another run.
  await db.execute(sql`DELETE FROM schedules WHERE workflow_id = ANY(${ids})`);
  await db.execute(sql`DELETE FROM jobs WHERE workflow_id = ANY(${ids})`);
}
