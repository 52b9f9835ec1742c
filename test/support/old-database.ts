import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import { migrate } from '../../db/migrate/migrate.ts';
import { withDatabase } from './global-setup.ts';

export interface OldDatabase {
  url: string;
  /** Another session than the migrating one. */
  client: postgres.Sql;
  close(): Promise<void>;
}

/** A database at the first version with the same rows in all its tables each time. */
export async function oldDatabase(): Promise<OldDatabase> {
  const database = await emptyDatabase();
  await migrate(database.url, { upTo: 1 });
  await fill(database.client, 1);
  return database;
}

export async function emptyDatabase(): Promise<OldDatabase> {
  const name = `cvtest_${randomBytes(8).toString('hex')}`;
  const admin = postgres(inject('adminUrl'), { max: 1, onnotice: () => undefined });
  await admin.unsafe(`CREATE DATABASE ${name}`);
  const url = withDatabase(inject('adminUrl'), name);
  const client = postgres(url, { max: 4, onnotice: () => undefined });
  return {
    url,
    client,
    close: async () => {
      await client.end();
      await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end({ timeout: 5 });
    },
  };
}

export const JOBS = 900;
export const ROWS_PER_STEP = 250; // so that the migration of jobs takes several steps

/** Fills the tables that the migration to `version` has created, if there are any. */
export async function fill(client: postgres.Sql, version: number): Promise<void> {
  await client.unsafe(FILLS[version] ?? '');
}

/** Ids are derived from numbers, so that two databases have the same ids. */
const FILLS: Record<number, string> = {
  1: `
    INSERT INTO users (id, email, password_hash, created_at)
      SELECT md5('user' || n)::uuid, n || '@example.com', '!', '2026-01-01Z'::timestamptz + n * interval '1 hour' FROM generate_series(1, 60) n;
    INSERT INTO tokens (id, user_id, kind, hash, created_at, expires_at)
      SELECT md5('token' || n)::uuid, md5('user' || n)::uuid, 'SESSION', n::text::bytea, '2026-02-01Z', '2099-01-01Z' FROM generate_series(1, 60) n;
    INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, generation, build_status,
        created_at, updated_at, terminated_at, termination_reason, deleted_at)
      SELECT md5('workflow' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 'w' || n, 'CONTAINER', 1, 3, 2, 'COMPLETED',
        '2026-02-01Z', '2026-02-01Z', gone, CASE WHEN gone IS NOT NULL THEN 'DELETED' END, gone
      FROM generate_series(1, 300) n, LATERAL (SELECT CASE WHEN n % 10 = 0 THEN '2026-03-01Z'::timestamptz END) AS g (gone);
    INSERT INTO payloads (workflow_id, generation, payload)
      SELECT md5('workflow' || n)::uuid, generation, jsonb_build_object('image', 'alpine:' || n,
        'volumes', jsonb_build_array(jsonb_build_object('name', 'v' || n % 7)), 'registry_auth', '{}'::jsonb)
      FROM generate_series(1, 300) n, generate_series(1, 2) generation;
    INSERT INTO builds (id, workflow_id, user_id, generation, status, image_id, created_at, completed_at)
      SELECT md5('build' || n)::uuid, md5('workflow' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 2, 'COMPLETED', 'sha256:' || n % 20,
        '2026-02-01Z', '2026-02-01Z' FROM generate_series(1, 300) n;
    INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at, created_at, updated_at, started_at, completed_at,
        log_line_count)
      SELECT md5('job' || n)::uuid, md5('workflow' || n % 300 + 1)::uuid, md5('user' || n % 300 % 60 + 1)::uuid, 'CONTAINER', 'MANUAL',
        CASE WHEN n % 9 = 0 THEN 'PENDING' ELSE 'COMPLETED' END, 1 + n % 2, '2026-02-01Z', '2026-02-01Z', '2026-02-01Z',
        CASE WHEN n % 9 <> 0 THEN '2026-02-01Z'::timestamptz END,
        CASE WHEN n % 9 <> 0 THEN '2026-02-01Z'::timestamptz + n * interval '1 minute' END, n
      FROM generate_series(1, ${JOBS}) n;
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, wake_at)
      SELECT md5('workflow' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 'CONTAINER', 'READY', 2, 1, '2099-01-01Z', '2099-01-01Z'
      FROM generate_series(1, 300) n WHERE n % 10 <> 0;
    INSERT INTO run_requests (job_id, workflow_id) SELECT id, workflow_id FROM jobs WHERE status = 'PENDING';
    INSERT INTO run_requests (job_id, workflow_id) SELECT md5('nothing' || n)::uuid, md5('workflow1')::uuid FROM generate_series(1, 50) n;
    INSERT INTO log_chunks SELECT id, 1, 1, 1, '' FROM jobs`,
  2: 'INSERT INTO installations (id) VALUES (md5($$installation$$)::uuid)',
  4: `
    INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, created_at)
      SELECT md5('notification' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 'WORKFLOW_TERMINATED', md5('workflow' || n)::uuid, 'w', '2026-02-01Z'
      FROM generate_series(1, 300) n`,
  5: `
    INSERT INTO idempotency_keys (user_id, mutation, key, input_hash, created_at)
      SELECT md5('user' || n % 60 + 1)::uuid, 'createWorkflow', n::text, '', '2026-02-01Z' FROM generate_series(1, 300) n`,
  10: `
    INSERT INTO known_addresses (user_id, address, last_used_at)
      SELECT md5('user' || n)::uuid, '192.0.2.1', '2026-02-01Z' FROM generate_series(1, 60) n`,
  11: `
    INSERT INTO turns (id, kind, user_id, round)
      SELECT md5('job' || n)::uuid, 'CONTAINER', md5('user' || n % 60 + 1)::uuid, n FROM generate_series(3, 300) n`,
  12: `
    INSERT INTO private_pulls (puller, image, started_at)
      SELECT md5('build' || n)::uuid, 'registry.example/image', '2026-02-01Z' FROM generate_series(1, 60) n;
    INSERT INTO pulled_images (user_id, image_id, image, pulled_at)
      SELECT md5('user' || n % 60 + 1)::uuid, 'sha256:' || n, 'registry.example/image', '2026-02-01Z' FROM generate_series(1, 300) n`,
  13: "INSERT INTO volume_copies (volume_id, engine_id) SELECT id, 'engine' FROM volumes",
  14: `
    INSERT INTO audit_events (id, action, outcome, at)
      SELECT md5('audit' || n)::uuid, 'createWorkflow', 'DONE', '2026-02-01Z' FROM generate_series(1, 300) n`,
  21: `
    UPDATE jobs SET log_attempt = -2 WHERE id IN (SELECT md5('job' || n)::uuid FROM generate_series(1, ${JOBS}) n WHERE n % 9 IN (1, 2, 3, 4));
    UPDATE builds SET log_attempt = -3 WHERE id IN (SELECT md5('build' || n)::uuid FROM generate_series(1, 300) n WHERE n % 3 = 0);
    UPDATE schedules SET state = 'HELD', wake_at = NULL
      WHERE workflow_id IN (SELECT md5('workflow' || n)::uuid FROM generate_series(1, 300) n WHERE n % 7 = 0)`,
  24: "INSERT INTO workers (owner, name, version, host) SELECT 'process ' || n, 'workflow', '1', 'host' FROM generate_series(1, 60) n",
  26: "INSERT INTO engine_images (engine_id, image_id, names) SELECT 'engine', 'sha256:' || n, '{r/i:1}' FROM generate_series(1, 300) n",
  30: `
    INSERT INTO calendars (id, key, expressions, time_zone, tz_version, occurrences, is_last, used_at)
      SELECT md5('calendar' || n)::uuid, n::text, '{}', 'UTC', '2026a', '{}', true, '2026-02-01Z' FROM generate_series(1, 300) n`,
  31: `
    INSERT INTO pings (workflow_id, token_hash, token, start_grace_seconds, run_grace_seconds, post_only)
      SELECT md5('workflow' || n)::uuid, n::text::bytea, 'sealed', 1, 1, false FROM generate_series(1, 300) n`,
  32: `
    INSERT INTO alert_channels (id, user_id, name, kind, config, events, is_default, include_log, state, created_at)
      SELECT md5('channel' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 'c', 'SLACK', '{"shown": "x", "sealed": {}}', '{}', true, true, 'ACTIVE', '2026-02-01Z'
      FROM generate_series(1, 300) n;
    INSERT INTO workflow_alert_channels (workflow_id, channel_id)
      SELECT md5('workflow' || n)::uuid, md5('channel' || n)::uuid FROM generate_series(1, 300) n;
    INSERT INTO incidents (id, workflow_id, user_id, job_id, opened_at, failures)
      SELECT md5('incident' || n)::uuid, md5('workflow' || n)::uuid, md5('user' || n % 60 + 1)::uuid, md5('job' || n)::uuid, '2026-02-01Z', 1
      FROM generate_series(1, 300) n;
    INSERT INTO outages (id, kind, place, host, detail, began_at)
      SELECT md5('outage' || n)::uuid, 'NETWORK', n::text, 'host', 'No host.', '2026-02-01Z' FROM generate_series(1, 300) n;
    INSERT INTO alert_deliveries (id, channel_id, user_id, event, status, created_at)
      SELECT md5('delivery' || n)::uuid, md5('channel' || n)::uuid, md5('user' || n % 60 + 1)::uuid, 'TEST', 'PENDING', '2026-02-01Z'
      FROM generate_series(1, 300) n;
    INSERT INTO alert_due (delivery_id, channel_id, queued_at)
      SELECT md5('delivery' || n)::uuid, md5('channel' || n)::uuid, '2026-02-01Z' FROM generate_series(1, 300) n`,
};
