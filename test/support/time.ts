import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';

const DEADLINE_MS = 50_000;
const ASK_MS = 10;

/** Asks until `ask` gives something, or fails with what it waited for. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  throw new Error(`Not within ${DEADLINE_MS / 1_000} s: ${what}`);
}

const SEEN_MS_MAX = 90_000;
const LOOK_MS = 50;

/** As `until`, for what many processes do at once on a machine that they keep busy: it waits longer, and asks less often. */
export async function seen<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + SEEN_MS_MAX;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error(`Not within ${SEEN_MS_MAX / 1_000} s: ${what}`);
}

/** Time passes for one workflow: its schedule and its jobs are moved `seconds` into the past. */
export async function letPass(db: Db, workflowId: string, seconds: number): Promise<void> {
  const by = sql`make_interval(secs => ${seconds})`;
  await db.execute(sql`
    UPDATE schedules SET next_run_at = next_run_at - ${by}, wake_at = wake_at - ${by}, last_slot_at = last_slot_at - ${by}
    WHERE workflow_id = ${workflowId}`);
  await db.execute(sql`
    UPDATE jobs SET lease_expires_at = lease_expires_at - ${by}, updated_at = updated_at - ${by},
      scheduled_at = scheduled_at - ${by}
    WHERE workflow_id = ${workflowId}`);
}
