import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rollUpTotals } from '../../db/analytics.ts';
import { migrate } from '../../db/migrate/migrate.ts';
import { type OldDatabase, oldDatabase, ROWS_PER_STEP } from '../support/old-database.ts';

let database: OldDatabase;
let worker: postgres.Sql;
beforeAll(async () => {
  database = await oldDatabase();
  worker = postgres(database.url, { max: 1, onnotice: () => undefined });
});
afterAll(async () => {
  await worker.end();
  await database.close();
});

test('each job and workflow counts once, including those that processes of the old version end and make meanwhile', async () => {
  await migrate(database.url, { upTo: 3 });
  let open = false;
  let n = 0;
  await migrate(database.url, {
    upTo: 4,
    rowsPerStep: ROWS_PER_STEP,
    report: () => void worker.unsafe('COMMIT').execute(), // the part after the steps waits for a lock until the worker's transaction ends
    watch: {
      async beforeCommit(part) {
        // A transaction that has ended jobs stays open from one step to the next. Some of its jobs
        // are behind the position of the steps, and some are not.
        if (open) await worker.unsafe('COMMIT');
        open = part.kind === 'steps';
        if (!open) return;
        n++;
        await worker.unsafe(`BEGIN;
          UPDATE jobs SET status = 'COMPLETED', started_at = now() - interval '1 minute', completed_at = now(), log_line_count = 7
            WHERE id IN (SELECT id FROM jobs WHERE completed_at IS NULL ORDER BY md5(id::text) LIMIT 7);
          UPDATE workflows SET terminated_at = now(), termination_reason = 'DELETED', deleted_at = now()
            WHERE id IN (SELECT id FROM workflows WHERE deleted_at IS NULL ORDER BY md5(id::text) LIMIT 3);
          INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status)
            VALUES (md5('new ${n}')::uuid, md5('user1')::uuid, 'new', 'HEARTBEAT', 1, 3, 'COMPLETED')`);
      },
    },
  });
  expect(open).toBe(false);
  expect(n).toBeGreaterThan(5);
  while ((await rollUpTotals(drizzle(database.client), { limit: 1_000 })) > 0);

  const { client } = database;
  const meant = client`
    SELECT scope_id, status AS what, date_trunc('hour', completed_at, 'UTC') AS hour, duration_bucket(ms) AS bucket, count(*), sum(log_line_count) AS log_lines,
      sum(ms) AS duration_ms
    FROM jobs, LATERAL (SELECT duration_ms(started_at, completed_at) AS ms) duration, LATERAL (VALUES (workflow_id), (user_id)) scope (scope_id)
    WHERE completed_at IS NOT NULL GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT user_id, what, date_trunc('hour', at, 'UTC'), -1, count(*), 0, 0
    FROM workflows, LATERAL (VALUES ('WORKFLOW_CREATED', created_at), ('WORKFLOW_DELETED', deleted_at)) happened (what, at)
    WHERE at IS NOT NULL GROUP BY 1, 2, 3`;
  const found = client`
    SELECT scope_id, what, hour, CASE WHEN what LIKE 'WORKFLOW%' THEN -1 ELSE bucket END AS bucket, sum(count), sum(log_lines), sum(duration_ms)
    FROM totals GROUP BY 1, 2, 3, 4`;
  const counted = await client`((${found}) EXCEPT (${meant})) UNION ALL ((${meant}) EXCEPT (${found}))`;
  expect([...counted]).toEqual([]);
  const days = await client`
    SELECT (SELECT sum(count) FROM daily_totals) = (SELECT count(*) FROM jobs WHERE completed_at IS NOT NULL) AS count,
      (SELECT sum(log_lines) FROM daily_totals) = (SELECT sum(log_line_count) FROM jobs WHERE completed_at IS NOT NULL) AS lines`;
  expect([...days]).toEqual([{ count: true, lines: true }]);
});
