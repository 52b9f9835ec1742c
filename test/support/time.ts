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
 * Simulates that `seconds` pass for one workflow: moves its schedule, its pause, its calendar, its
 * pings and its jobs into the past. Whole minutes keep the times of a calendar where its
 * expressions have them. One transaction: no job is made of rows that have moved in part. It locks
 * the workflow first, as those do that pause it: a pause moves whole, or not at all.
 */
export async function letPass(db: Db, workflowId: string, seconds: number): Promise<void> {
  const of = moved(seconds);
  await db.transaction(async (tx) => {
    await tx.execute(sql`SELECT FROM workflows WHERE id = ${workflowId} FOR NO KEY UPDATE`);
    await tx.execute(sql`UPDATE workflows SET ${of.workflows} WHERE id = ${workflowId} AND paused_at IS NOT NULL`);
    await tx.execute(sql`UPDATE schedules SET ${of.schedules} WHERE workflow_id = ${workflowId}`);
    await tx.execute(sql`
      UPDATE calendars SET ${of.calendars} WHERE id IN (SELECT calendar_id FROM schedules WHERE workflow_id = ${workflowId})`);
    await tx.execute(sql`UPDATE pings SET ${of.pings} WHERE workflow_id = ${workflowId}`);
    await tx.execute(sql`UPDATE jobs SET ${of.jobs} WHERE workflow_id = ${workflowId}`);
  });
}

/**
 * Simulates that `seconds` pass for everything. It locks the rows in the order in which all lock
 * them: workers may be at work meanwhile.
 */
export async function letAllPass(db: Db, seconds: number): Promise<void> {
  const of = moved(seconds);
  await db.transaction(async (tx) => {
    await tx.execute(sql`SELECT FROM workflows ORDER BY id FOR NO KEY UPDATE`);
    await tx.execute(sql`SELECT FROM schedules ORDER BY workflow_id FOR UPDATE`);
    await tx.execute(sql`SELECT FROM jobs ORDER BY id FOR NO KEY UPDATE`);
    await tx.execute(sql`
      WITH moved_workflows AS (UPDATE workflows SET ${of.workflows} WHERE paused_at IS NOT NULL),
        moved_schedules AS (UPDATE schedules SET ${of.schedules}), moved_calendars AS (UPDATE calendars SET ${of.calendars}),
        moved_builds AS (UPDATE builds SET ${of.builds} WHERE completed_at IS NULL)
      UPDATE jobs SET ${of.jobs}`);
  });
}

/** The times of each table that the passing of time brings nearer, or takes further away. */
function moved(seconds: number) {
  const by = sql`make_interval(secs => ${seconds})`;
  const earlier = (...columns: string[]) =>
    sql.join(
      columns.map((column) => sql`${sql.identifier(column)} = ${sql.identifier(column)} - ${by}`),
      sql`, `,
    );
  return {
    workflows: earlier('paused_at', 'paused_until'),
    schedules: earlier(
      ...['next_run_at', 'wake_at', 'last_slot_at', 'starts_at', 'ends_at', 'paused_until', 'skip_notified_at'],
      ...['late_slot_at', 'replacing_slot_at'],
    ),
    calendars: sql`${earlier('refill_at')}, occurrences = ARRAY(SELECT at - ${by} FROM unnest(occurrences) AS o (at) ORDER BY at)`,
    builds: earlier('created_at', 'started_at', 'lease_expires_at', 'retry_at'),
    pings: earlier('started_at', 'ended_at', 'given_up_at'),
    jobs: earlier('scheduled_at', 'queued_at', 'updated_at', 'lease_expires_at', 'retry_at'),
  };
}
