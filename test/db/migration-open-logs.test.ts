import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../db/migrate/migrate.ts';
import { fill, JOBS, type OldDatabase, oldDatabase, ROWS_PER_STEP } from '../support/old-database.ts';

const VERSION = 22;
const USER = '00000000-0000-7000-8000-000000000001';

let database: OldDatabase;
beforeAll(async () => {
  database = await oldDatabase();
  for (let version = 2; version < VERSION; version++) {
    await migrate(database.url, { upTo: version });
    await fill(database.client, version);
  }
  await migrate(database.url, { upTo: VERSION, rowsPerStep: ROWS_PER_STEP });
});
afterAll(() => database.close());

async function logsOf(table: 'jobs' | 'builds'): Promise<Record<string, unknown>[]> {
  return database.client`
    SELECT log_open, log_attempt, count(*)::int AS rows FROM ${database.client(table)} GROUP BY 1, 2 ORDER BY 1, 2`;
}

async function stateOf(workflow: string): Promise<unknown> {
  const [row] = await database.client`SELECT state FROM schedules WHERE workflow_id = md5(${workflow})::uuid`;
  return row?.state;
}

test('logs that were open stay open under their attempt, and no others are open', async () => {
  const open = (JOBS / 9) * 4;
  expect([...(await logsOf('jobs'))]).toEqual([
    { log_open: false, log_attempt: 1, rows: JOBS - open },
    { log_open: true, log_attempt: 1, rows: open },
  ]);
  expect([...(await logsOf('builds'))]).toEqual([
    { log_open: false, log_attempt: 1, rows: 200 },
    { log_open: true, log_attempt: 2, rows: 100 },
  ]);
});

test('schedules that were HELD become BLOCKED, and the others keep their state', async () => {
  const rows = await database.client`SELECT state, count(*)::int AS rows FROM schedules GROUP BY 1 ORDER BY 1`;
  expect([...rows]).toEqual([
    { state: 'BLOCKED', rows: 38 },
    { state: 'READY', rows: 232 },
  ]);
});

test('a process of the previous version ends jobs and builds whose logs stay open', async () => {
  const [job] = await database.client`
    UPDATE jobs SET status = 'CANCELED', completed_at = now(), attempt = 2,
      log_attempt = CASE WHEN true THEN ~log_attempt ELSE log_attempt END
    WHERE id = md5('job9')::uuid RETURNING log_attempt`;
  expect(job).toEqual({ log_attempt: -2 }); // the statement returns the value that it has set
  await database.client`UPDATE builds SET log_attempt = ~log_attempt WHERE id = md5('build1')::uuid`;
  const rows = await database.client`
    SELECT log_open, log_attempt FROM jobs WHERE id = md5('job9')::uuid
    UNION ALL SELECT log_open, log_attempt FROM builds WHERE id = md5('build1')::uuid`;
  expect([...rows]).toEqual([
    { log_open: true, log_attempt: 1 },
    { log_open: true, log_attempt: 1 },
  ]);
});

test('a process of the previous version updates a payload and ends the build of a blocked workflow', async () => {
  await database.client`UPDATE schedules SET state = 'HELD', wake_at = now() WHERE workflow_id = md5('workflow1')::uuid`;
  expect(await stateOf('workflow1')).toBe('BLOCKED');
  const endBuild = () => database.client`
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at)
    SELECT id, user_id, kind, 'READY', 3, interval_minutes, now(), now() FROM workflows WHERE id = md5('workflow1')::uuid
    ON CONFLICT (workflow_id) DO UPDATE SET state = 'READY', generation = excluded.generation, wake_at = now()
      WHERE schedules.state = 'HELD'`;
  await endBuild();
  const schedule = () => database.client`
    SELECT state, generation, next_run_at < '2099-01-01Z' AS moved FROM schedules WHERE workflow_id = md5('workflow1')::uuid`;
  expect([...(await schedule())]).toEqual([{ state: 'READY', generation: 3, moved: false }]);
  await database.client`UPDATE schedules SET state = 'TERMINATED', next_run_at = NULL WHERE workflow_id = md5('workflow1')::uuid`;
  await endBuild();
  expect(await stateOf('workflow1')).toBe('TERMINATED');
});

test('a process of the previous version makes the first schedule of a workflow', async () => {
  await database.client`
    INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status)
    VALUES (${USER}, md5('user1')::uuid, 'new', 'HEARTBEAT', 1, 3, 'COMPLETED')`;
  await database.client`
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at)
    VALUES (${USER}, md5('user1')::uuid, 'HEARTBEAT', 'READY', 1, 1, now(), now())`;
  const [row] = await database.client`SELECT state FROM schedules WHERE workflow_id = ${USER}`;
  expect(row).toEqual({ state: 'READY' });
});

test('a schedule has no other state, and only an ended job has an open log', async () => {
  await expect(database.client`UPDATE schedules SET state = 'IDLE' WHERE state = 'READY'`).rejects.toThrow(
    'schedules_state_check',
  );
  await expect(database.client`UPDATE jobs SET log_open = true`).rejects.toThrow('jobs_log_open_check');
});
