import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';

type Ask<T> = () => Promise<T | undefined | false>;

/** Calls `ask` until it returns a value. After 50 s it fails with `what`. */
export function until<T>(what: string, ask: Ask<T>): Promise<T> {
  return poll(what, ask, { withinMs: 50_000, everyMs: 10 });
}

/**
 * Like `until`, for the work of many processes that keep the machine busy: it waits 90 s and asks
 * less often.
 */
export function untilSlow<T>(what: string, ask: Ask<T>): Promise<T> {
  return poll(what, ask, { withinMs: 90_000, everyMs: 50 });
}

async function poll<T>(what: string, ask: Ask<T>, bounds: { withinMs: number; everyMs: number }): Promise<T> {
  const deadline = Date.now() + bounds.withinMs;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, bounds.everyMs));
  }
  throw new Error(`Not within ${bounds.withinMs / 1_000} s: ${what}`);
}

/**
 * Simulates that `seconds` pass for one workflow: moves its schedule, its calendar, its jobs and
 * its pings into the past, in one transaction. Whole minutes keep the times of a calendar where its
 * expressions have them.
 */
export async function letPass(db: Db, workflowId: string, seconds: number): Promise<void> {
  const by = sql`make_interval(secs => ${seconds})`;
  await db.transaction(async (tx) => {
    await tx.execute(sql`
    UPDATE schedules SET next_run_at = next_run_at - ${by}, wake_at = wake_at - ${by}, last_slot_at = last_slot_at - ${by},
      paused_until = paused_until - ${by}, ends_at = ends_at - ${by}
    WHERE workflow_id = ${workflowId}`);
    await tx.execute(sql`
    UPDATE calendars SET refill_at = refill_at - ${by}, occurrences = ARRAY(SELECT at - ${by} FROM unnest(occurrences) AS o (at) ORDER BY at)
    WHERE id IN (SELECT calendar_id FROM schedules WHERE workflow_id = ${workflowId})`);
    await tx.execute(sql`
    UPDATE pings SET started_at = started_at - ${by}, ended_at = ended_at - ${by}, given_up_at = given_up_at - ${by}
    WHERE workflow_id = ${workflowId}`);
    await tx.execute(sql`
    UPDATE jobs SET lease_expires_at = lease_expires_at - ${by}, updated_at = updated_at - ${by},
      scheduled_at = scheduled_at - ${by}, retry_at = retry_at - ${by}
    WHERE workflow_id = ${workflowId}`);
  });
}
