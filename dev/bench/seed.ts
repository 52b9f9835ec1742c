import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { users } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';

/** A user that owns the rows of a benchmark. */
export async function seedUser(db: Db): Promise<string> {
  const id = newId();
  await db.insert(users).values({ id, email: `${id}@example.com`, passwordHash: '!' });
  return id;
}

/**
 * Creates `count` HEARTBEAT workflows with an interval of one minute, first due in `dueInSeconds`.
 * If that is Infinity, the interval is a year, so that none is due. None fails, as after a success.
 */
export async function seedHeartbeats(db: Db, userId: string, count: number, dueInSeconds: number): Promise<void> {
  const [due, minutes] = Number.isFinite(dueInSeconds) ? [dueInSeconds, 1] : [364 * 86_400, 365 * 1_440];
  await db.execute(sql`
    WITH ids AS MATERIALIZED (
      SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
        || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid AS id
      FROM generate_series(1, ${count}::integer)
    ), made AS (
      INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status)
      SELECT id, ${userId}, 'bench', 'HEARTBEAT', ${minutes}::integer, 3, 'COMPLETED' FROM ids
    ), described AS (
      INSERT INTO payloads (workflow_id, generation, payload) SELECT id, 1, '{"kind":"HEARTBEAT"}' FROM ids
    )
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at, failing)
    SELECT id, ${userId}, 'HEARTBEAT', 'READY', 1, ${minutes}::integer, now() + make_interval(secs => ${due}), now() + make_interval(secs => ${due}), false
    FROM ids`);
}

/** Gives the database the statistics of one that has run for a while. */
export async function settle(db: Db): Promise<void> {
  await db.execute(sql`VACUUM ANALYZE`);
  await db.execute(sql`CHECKPOINT`);
}
