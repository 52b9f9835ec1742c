import { eq, sql } from 'drizzle-orm';
import type { Payload } from '../../domain/payload/payload.ts';
import { type Push, pushOf } from '../../domain/payload/push.ts';
import type { RunPolicy } from '../../domain/schedule/run-policy.ts';
import { runsAfter, type Schedule } from '../../domain/schedule/schedule.ts';
import type { Db } from '../client.ts';
import { eachDayOf } from '../job-days.ts';
import { type PingsRow, pings, schedules, type WorkflowRow } from '../schema.ts';
import { policyColumns, scheduleOf, timingOf, transactionMs } from './schedule.ts';

/**
 * What a change of a workflow does to a push heartbeat. `schedules.delay_seconds` is the grace of
 * the ping that is expected, and `next_run_at` is null until the first one. The caller holds the
 * locks of the workflow and of its row of `pings`.
 */

type Tx = Pick<Db, 'execute' | 'select' | 'insert' | 'update' | 'delete'>;

/** The token of a ping URL: what finds its workflow, and what its owner can read. */
export interface PingToken {
  hash: Buffer;
  sealed: string;
}

/** What a payload expects of pings. Undefined for one that checks or runs something. */
export function pushIn(payload: Payload): Push | undefined {
  return payload.kind === 'HEARTBEAT' && payload.push ? pushOf(payload.push) : undefined;
}

export async function insertPings(tx: Tx, workflowId: string, push: Push, token: PingToken | undefined): Promise<void> {
  if (token === undefined) throw new Error('A push heartbeat needs a token.');
  await tx.insert(pings).values({ workflowId, tokenHash: token.hash, token: token.sealed, ...push });
}

/** Locks what the pings of a workflow need, before its schedule is locked. */
export async function lockPings(tx: Tx, workflowId: string): Promise<PingsRow | undefined> {
  const [row] = await tx.select().from(pings).where(eq(pings.workflowId, workflowId)).for('update');
  return row;
}

/**
 * Another schedule for a push heartbeat: the next ping is expected at its first slot after now,
 * unless no ping came yet, or the end of a run is expected.
 */
export async function changePushSchedule(
  tx: Tx,
  workflowId: string,
  schedule: Schedule,
  before: PingsRow,
): Promise<void> {
  const { nextRunAt: _, ...timing } = await timingOf(tx, workflowId, schedule);
  const next = (await nextPingAt(tx, workflowId, schedule))?.toISOString() ?? null;
  const nextRunAt = sql`CASE WHEN ${schedules.nextRunAt} IS NOT NULL THEN ${next}::timestamptz END`;
  await tx
    .update(schedules)
    .set({ ...timing, ...(isAwaited(before) ? {} : { nextRunAt }) })
    .where(eq(schedules.workflowId, workflowId));
}

/**
 * Begins, changes or ends what is expected of pings, behind a change of payload, schedule or
 * policy.
 */
export async function changePush(
  tx: Tx,
  { id, ...workflow }: WorkflowRow,
  {
    push,
    before,
    token,
    schedule,
    runPolicy,
  }: {
    push: Push | undefined;
    before: PingsRow | undefined;
    token: PingToken | undefined;
    schedule: Schedule | undefined;
    runPolicy: RunPolicy | undefined;
  },
): Promise<void> {
  const ofWorkflow = eq(schedules.workflowId, id);
  if (push && before) {
    await tx.update(pings).set(push).where(eq(pings.workflowId, id));
    const { runGraceSeconds, startGraceSeconds } = push;
    const { delaySeconds: delay } = schedules;
    // A pause may have made the grace of the run longer.
    const longer = sql`CASE WHEN ${delay} > ${before.runGraceSeconds}::integer THEN ${delay} END`;
    const delaySeconds = isAwaited(before) ? sql`greatest(${runGraceSeconds}::integer, ${longer})` : startGraceSeconds;
    await tx.update(schedules).set({ delaySeconds }).where(ofWorkflow);
  } else if (push) {
    await insertPings(tx, id, push, token);
    const [updated] = await tx
      .update(schedules)
      .set({ nextRunAt: null, delaySeconds: push.startGraceSeconds })
      .where(ofWorkflow)
      .returning({ lastJobId: schedules.lastJobId });
    await markActiveJob(tx, updated?.lastJobId ?? undefined);
  } else if (before) {
    await tx.delete(pings).where(eq(pings.workflowId, id));
    const present = schedule ?? scheduleOf({ id, ...workflow });
    const { nextRunAt } = await timingOf(tx, id, present);
    const { delaySeconds } = policyColumns(id, runPolicy ?? workflow.runPolicy);
    const first = 'everyMinutes' in present ? sql`now()` : nextRunAt;
    await tx.update(schedules).set({ nextRunAt: first, delaySeconds }).where(ofWorkflow);
  }
}

/**
 * Pings may change the failure count while a job of the check is active. So its success looks at
 * the count.
 */
async function markActiveJob(tx: Tx, id: string | undefined): Promise<void> {
  if (id === undefined) return;
  await eachDayOf(tx, [id], (jobs) =>
    tx.execute(sql`
    UPDATE /* markActiveJob */ ${jobs} SET after_failure = true WHERE id = ${id} AND completed_at IS NULL`),
  );
}

/**
 * When the next ping is expected, as nextPing (db/jobs/next-ping.ts) says, for a schedule whose
 * calendar need not be filled.
 */
export async function nextPingAt(
  tx: Pick<Db, 'execute'>,
  workflowId: string,
  schedule: Schedule,
): Promise<Date | null> {
  const now = new Date(await transactionMs(tx));
  if ('everyMinutes' in schedule) return new Date(now.getTime() + schedule.everyMinutes * 60_000);
  return runsAfter(schedule, now, 1, workflowId)[0] ?? null;
}

/** Whether the end of a run is expected next: IS_AWAITED of a row that was read. */
function isAwaited({ startedAt, endedAt, givenUpAt }: PingsRow): boolean {
  return startedAt !== null && endedAt === null && givenUpAt === null;
}
