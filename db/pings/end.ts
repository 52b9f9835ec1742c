import { eq, sql } from 'drizzle-orm';
import { LEASE_SECONDS } from '../../domain/limits.ts';
import { packLines } from '../../domain/logs/packing.ts';
import type { Ping, Pinged } from '../../domain/ping.ts';
import { seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { withJobDay } from '../job-days.ts';
import { endJobs, type Outcome } from '../jobs/finish.ts';
import { jobs, type PingsRow, pings, schedules, type WorkflowRow, workflows } from '../schema.ts';
import { nextPingAt } from '../workflows/push.ts';
import { scheduleOf } from '../workflows/schedule.ts';
import type { Transaction } from '../workflows/workflows.ts';

export type PingOutcome = Pick<Outcome, 'status' | 'exitCode' | 'failureReason' | 'failureMessage'>;

/**
 * A ping that says how a run ended, where that may change the failure count: a job runs under a
 * lease for a moment, and ends as every other does. One transaction does it, which locks workflows,
 * pings, schedules and jobs in this order.
 *
 * No run policy retries the job: only its owner's program could try again.
 */
export function endByPing(db: Db, ping: Ping, outcome: PingOutcome): Promise<Pinged> {
  return withJobDay(db, () =>
    db.transaction(async (tx): Promise<Pinged> => {
      const found = await lockPinged(tx, ping.tokenHash);
      if (found === undefined) return { outcome: 'UNKNOWN' };
      const { workflow, row } = found;
      if (row.postOnly && !ping.isPost) return { outcome: 'POST_ONLY' };
      const { id: workflowId } = workflow;
      const [schedule] = await tx.select().from(schedules).where(eq(schedules.workflowId, workflowId)).for('update');
      if (schedule?.state !== 'READY') return { outcome: 'GONE' };

      const isOpen = row.startedAt !== null && row.endedAt === null;
      const isItsEnd = isOpen && row.startRid === (ping.rid ?? null);
      const { userId, kind, generation } = schedule;
      const [job] = await tx
        .insert(jobs)
        .values({
          ...{ id: NEW_ID, workflowId, userId, kind, generation, trigger: 'PING', status: 'RUNNING', attempt: 1 },
          scheduledAt: sql`now()`,
          startedAt: isItsEnd ? sql`least(${row.startedAt?.toISOString()}::timestamptz, now())` : sql`now()`,
          leaseToken: sql`gen_random_uuid()`,
          leaseExpiresAt: sql`now() + ${seconds(LEASE_SECONDS)}`,
          awaited: false,
        })
        .returning();
      if (job?.leaseToken === undefined || job.leaseToken === null) throw new Error('An insert returned no row.');
      if (!isOpen || isItsEnd || row.givenUpAt !== null) await expectNext(tx, workflow, row);
      await tx
        .update(pings)
        .set({ log: sql`''`, logLineCount: 0, ...(isItsEnd ? { endedAt: sql`now()` } : {}) })
        .where(eq(pings.workflowId, workflowId));
      const text = Buffer.concat([row.log, ping.lines.text]);
      const { effects } = await endJobs(tx, [
        {
          ...outcome,
          id: job.id,
          workflowId,
          leaseToken: job.leaseToken,
          isFinal: true,
          logLineCount: row.logLineCount + ping.lines.count,
          lastLines: text.length === 0 ? undefined : { firstNumber: 1, lines: await packLines(text) },
        },
      ]);
      return { outcome: 'DONE', effects: { ...effects, wakeScheduler: true } };
    }),
  );
}

/** The workflow with this token, and what its pings need, both locked. */
async function lockPinged(
  tx: Transaction,
  tokenHash: Buffer,
): Promise<{ workflow: WorkflowRow; row: PingsRow } | undefined> {
  const [known] = await tx.select({ workflowId: pings.workflowId }).from(pings).where(eq(pings.tokenHash, tokenHash));
  if (known === undefined) return undefined;
  const [workflow] = await tx.select().from(workflows).where(eq(workflows.id, known.workflowId)).for('no key update');
  const [row] = await tx.select().from(pings).where(eq(pings.tokenHash, tokenHash)).for('update');
  return workflow && row?.workflowId === workflow.id ? { workflow, row } : undefined;
}

/** The next ping is expected as nextPing says. The caller holds the lock of the schedule. */
export async function expectNext(
  tx: Transaction,
  workflow: WorkflowRow,
  { startGraceSeconds }: Pick<PingsRow, 'startGraceSeconds'>,
): Promise<void> {
  const nextRunAt = await nextPingAt(tx, workflow.id, scheduleOf(workflow));
  await tx
    .update(schedules)
    .set({ nextRunAt, delaySeconds: startGraceSeconds, wakeAt: sql`now()` })
    .where(eq(schedules.workflowId, workflow.id));
}
