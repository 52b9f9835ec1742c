import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import { DAY_MS } from '../../domain/limits.ts';

/**
 * Stores the data of other users: `rows` jobs (or `jobs`, if given), and the matching number of
 * rows in all other tables. Everything has ended, or is running and needs no work now. The newest
 * ids are of the time `newestMs`.
 */
export async function fillHistory(
  db: Db,
  rows: number,
  { jobs = rows, newestMs = Date.now() - 2 * DAY_MS } = {},
): Promise<void> {
  for (const statement of statements(rows, jobs))
    await db.execute(sql.raw(statement.replaceAll(NEWEST_MS, String(newestMs))));
}

/** Uses DELETE, which leaves the statistics of the tables unchanged. */
export async function emptyHistory(db: Db): Promise<void> {
  for (const name of await tablesOf(db)) await db.execute(sql.raw(`DELETE FROM ${name}`));
}

/** The tables that have rows of users. */
export async function tablesOf(db: Db): Promise<string[]> {
  const tables = await db.execute<{ name: string }>(sql`
    SELECT c.oid::regclass::text AS name FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition
      AND relnamespace = 'public'::regnamespace AND relname NOT IN ('schema_migrations', 'turn_rounds', 'installations')`);
  return tables.map(({ name }) => name);
}

/** Turns autovacuum off, so that the statistics only change when the test wants it. */
export async function prepareTables(db: Db): Promise<void> {
  const tables = await db.execute<{ name: string }>(sql`
    SELECT c.oid::regclass::text AS name FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`);
  for (const { name } of tables) await db.execute(sql.raw(`ALTER TABLE ${name} SET (autovacuum_enabled = false)`));
}

/** Building an index over all rows is faster than adding each row to it. */
export async function withoutIndexes(db: Db, table: string, work: () => Promise<void>): Promise<void> {
  const indexes = await db.execute<{ name: string; definition: string }>(sql`
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index WHERE indrelid = ${table}::regclass AND NOT indisprimary`);
  for (const { name } of indexes) await db.execute(sql.raw(`DROP INDEX ${name}`));
  await work();
  for (const { definition } of indexes) await db.execute(sql.raw(definition.replace(' ON ONLY ', ' ON ')));
}

/**
 * Drops the foreign keys for `work` and restores them for later rows only. Looking up the parent of
 * each row would double the time.
 */
export async function withoutForeignKeys(db: Db, work: () => Promise<void>): Promise<void> {
  const keys = await db.execute<{ table: string; name: string; definition: string }>(sql`
    SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0`);
  for (const { table, name } of keys) await db.execute(sql.raw(`ALTER TABLE ${table} DROP CONSTRAINT ${name}`));
  await work();
  for (const { table, name, definition } of keys)
    await db.execute(sql.raw(`ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition} NOT VALID`));
}

/** Stands for the time of the newest id. */
const NEWEST_MS = '{newestMs}';

/**
 * Ids of objects of the kind `kind`. Object `n` was made `n` tenths of a second before the newest
 * one. Their order is that of UUIDv7.
 */
function id(kind: string, n: string): string {
  return `(lpad(to_hex(${NEWEST_MS} - (${n}) * 100::bigint), 12, '0') || '7${kind}' || lpad(to_hex(${n}), 17, '0'))::uuid`;
}

const owner = (n: string) => id('01', `(${n}) % users`);
const workflow = (n: string) => id('02', `(${n}) % workflows`);

function statements(rows: number, jobs: number): string[] {
  const users = Math.ceil(rows / 50);
  const workflows = Math.ceil(rows / 4);
  const tenth = Math.ceil(rows / 10);
  const fill = (columns: string, values: string, count: number) =>
    `INSERT INTO ${columns} SELECT ${values
      .replaceAll('% users', `% ${users}`)
      .replaceAll('% workflows', `% ${workflows}`)} FROM generate_series(0, ${count - 1}) n`;
  const sha = `decode(md5(n::text) || md5('x' || n), 'hex')`;
  return [
    fill(
      'users (id, email, password_hash, disabled_at)',
      `${id('01', 'n')}, 'other-' || n || '@example.com', '!', CASE WHEN n % 100 = 0 THEN now() END`,
      users,
    ),
    fill(
      'tokens (id, user_id, kind, name, hash, expires_at, last_used_at)',
      `${id('03', 'n')}, ${owner('n')}, CASE n % 2 WHEN 0 THEN 'API' ELSE 'SESSION' END, CASE n % 2 WHEN 0 THEN 'ci' END, ${sha},
        now() + interval '1 day', now() - interval '1 hour'`,
      users * 4,
    ),
    fill('known_addresses (user_id, address)', `${owner('n')}, '10.0.0.' || n / ${users}`, users * 3),
    fill(
      `workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status, log_retention_days,
        terminated_at, termination_reason, deleted_at)`,
      `${id('02', 'n')}, ${owner('n')}, 'other ' || n, CASE n % 2 WHEN 0 THEN 'CONTAINER' ELSE 'HEARTBEAT' END, 60, 3, 'COMPLETED',
        CASE WHEN n % 1000 = 1 THEN 1 END, CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 10 = 0 THEN 'REQUESTED' END,
        CASE WHEN n % 20 = 0 THEN now() - interval '1 hour' END`,
      workflows,
    ),
    fill(
      'payloads (workflow_id, generation, payload)',
      `${id('02', 'n')}, 1, '{"kind": "CONTAINER", "image": "alpine:3", "volumes": [{"name": "data", "path": "/data"}]}'`,
      workflows,
    ),
    fill(
      'builds (id, workflow_id, user_id, generation, status, attempt, started_at, completed_at, image_id, log_open, lease_token, lease_owner, lease_expires_at)',
      `${id('04', 'n')}, ${workflow('n')}, ${owner('n')}, 1, status, 1, now() - interval '1 minute',
        CASE status WHEN 'COMPLETED' THEN now() - interval '1 day' END, CASE status WHEN 'COMPLETED' THEN 'sha256:' || n END,
        n % 500 = 7 AND status = 'COMPLETED', CASE status WHEN 'STARTED' THEN gen_random_uuid() END,
        CASE status WHEN 'STARTED' THEN 'other' END, CASE status WHEN 'STARTED' THEN now() + interval '1 day' END`.replaceAll(
        'status',
        `(CASE WHEN n < 50 THEN 'STARTED' ELSE 'COMPLETED' END)`,
      ),
      workflows,
    ),
    fill(
      'schedules (workflow_id, user_id, kind, state, generation, interval_minutes, last_slot_at, next_run_at, wake_at, waiting, last_job_id)',
      `${id('02', 'n')}, ${owner('n')}, CASE n % 2 WHEN 0 THEN 'CONTAINER' ELSE 'HEARTBEAT' END, 'READY', 1, 60, now(),
        now() + interval '1 day', now() + interval '1 day', n % 10 = 0, ${id('05', 'n')}`,
      workflows,
    ),
    fill(
      `jobs (id, workflow_id, user_id, kind, trigger, status, generation, attempt, scheduled_at, queued_at, started_at, completed_at,
        updated_at, lease_token, lease_owner, lease_expires_at, engine_id, log_open, log_line_count)`,
      `${id('05', 'n')}, ${workflow('n')}, ${owner('n')}, CASE n % 2 WHEN 0 THEN 'CONTAINER' ELSE 'HEARTBEAT' END, 'MANUAL', status, 1, 1,
        now() - make_interval(secs => n), now(), now() - interval '41 hours', CASE status WHEN 'COMPLETED' THEN now() - interval '40 hours' END,
        now() - interval '1 hour', CASE status WHEN 'RUNNING' THEN gen_random_uuid() END, CASE status WHEN 'RUNNING' THEN 'other' END,
        CASE status WHEN 'RUNNING' THEN now() + interval '1 day' END, 'other-engine', n % 500 = 7 AND status = 'COMPLETED', 3`.replaceAll(
        'status',
        `(CASE WHEN n >= ${workflows} THEN 'COMPLETED' WHEN n % 50 = 1 THEN 'RUNNING' WHEN n % 50 = 2 THEN 'QUEUED' WHEN n % 50 = 3 THEN 'PENDING' ELSE 'COMPLETED' END)`,
      ),
      jobs,
    ),
    `INSERT INTO run_requests (job_id, workflow_id, user_id, kind) SELECT id, workflow_id, user_id, kind FROM jobs WHERE status = 'PENDING'`,
    `INSERT INTO turns (id, kind, user_id, round) SELECT id, 'CONTAINER', user_id, row_number() OVER (PARTITION BY user_id ORDER BY id)
      FROM jobs WHERE status = 'QUEUED'`,
    fill(
      'turns (id, kind, user_id, round)',
      `gen_random_uuid(), 'CONTAINER', ${owner('n')}, n / ${users} + 1`,
      rows < 1_000 ? 0 : tenth,
    ), // a burst
    fill(
      'log_chunks (source_id, first_number, last_number, attempt, lines)',
      `${id('05', 'n')}, 1, 3, 1, '\\x00'`,
      Math.ceil(rows / 2),
    ),
    fill(
      'notifications (id, user_id, kind, workflow_id, workflow_name, job_id, read_at)',
      `${id('06', 'n')}, ${owner('n')}, 'JOB_FAILED', ${workflow('n')}, 'other', ${id('05', 'n')}, CASE n % 2 WHEN 0 THEN now() END`,
      Math.ceil(rows / 2),
    ),
    fill(
      'alert_channels (id, user_id, name, kind, config, events, is_default, include_log, state, lease_token, lease_owner, lease_expires_at)',
      `${id('0a', 'n')}, ${owner('n')}, 'other', 'SLACK', '{"shown": "x", "sealed": {}}', '{WORKFLOW_FAILING}', true, true, 'ACTIVE',
        gen_random_uuid(), 'other', now() + interval '1 day'`,
      users * 3,
    ),
    fill('workflow_alert_channels (workflow_id, channel_id)', `${workflow('n')}, ${id('0a', 'n')}`, users),
    fill(
      'incidents (id, workflow_id, user_id, job_id, alerted_at, resolved_at, resolution, failures)',
      `${id('0b', 'n')}, ${workflow('n')}, ${owner('n')}, ${id('05', 'n')}, now(), now(), 'RECOVERED', 1`,
      tenth,
    ),
    fill(
      'outages (id, kind, place, host, detail, ended_at, resolution)',
      `${id('0d', 'n')}, 'NETWORK', 'other', 'other', 'other', now(), 'RECOVERED'`,
      tenth,
    ),
    fill(
      'alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, incident_id, status, delivered_at)',
      `${id('0c', 'n')}, ${id('0a', `n % ${users} + 1`)}, ${owner('n')}, 'WORKFLOW_FAILING', ${workflow('n')}, 'other', ${id('0b', 'n')},
        CASE WHEN n < ${tenth} THEN 'PENDING' ELSE 'DELIVERED' END, CASE WHEN n >= ${tenth} THEN now() END`,
      Math.ceil(rows / 2),
    ),
    fill('alert_due (delivery_id, channel_id)', `${id('0c', 'n')}, ${id('0a', `n % ${users} + 1`)}`, tenth),
    fill(
      'audit_events (id, action, outcome, user_id)',
      `${id('07', 'n')}, 'workflow.create', 'DONE', ${owner('n')}`,
      Math.ceil(rows / 2),
    ),
    fill(
      'totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)',
      `${workflow('n')}, 'COMPLETED', date_trunc('hour', now() - make_interval(hours => n / ${workflows})), 1, 1, 1, 1`,
      workflows * 2,
    ),
    fill(
      'daily_totals (user_id, what, day, bucket, count, log_lines, duration_ms)',
      `${owner('n')}, 'COMPLETED', date_trunc('day', now() - make_interval(days => n / ${users})), 1, 1, 1, 1`,
      users * 5,
    ),
    fill(
      'totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)',
      `ARRAY[${owner('n')}], ARRAY[${workflow('n')}], ARRAY['COMPLETED'], ARRAY[now()], ARRAY[1]`,
      Math.ceil(tenth / 10),
    ),
    fill(
      'idempotency_keys (user_id, mutation, key, input_hash, object_id)',
      `${owner('n')}, 'runWorkflow', n::text, ${sha}, ${id('05', 'n')}`,
      tenth,
    ),
    fill(
      'volumes (id, user_id, name, delete_requested_at)',
      `${id('08', 'n')}, ${owner('n')}, 'data-' || n / ${users}, CASE WHEN n % 1000 = 1 THEN now() END`,
      users * 3,
    ),
    fill(
      'volume_copies (volume_id, engine_id, size_bytes, last_used_at)',
      `${id('08', 'n')}, 'other-engine', 1, now()`,
      users * 3,
    ),
    fill('private_images (image_id, image)', `'sha256:' || n, 'registry.example.com/' || n`, tenth),
    fill('engine_images (engine_id, image_id, names)', `'other-engine', 'sha256:' || n, '{r/i}'`, tenth),
    fill(
      'private_pulls (puller, image, repository, engine_id)',
      `${id('05', 'n')}, 'registry.example.com/' || n || ':1', 'registry.example.com/' || n, 'other-engine'`,
      1_000,
    ),
    fill(
      'pulled_images (user_id, image_id, image)',
      `${owner('n')}, 'sha256:' || n, 'registry.example.com/' || n`,
      tenth,
    ),
  ];
}
