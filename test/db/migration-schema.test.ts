import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../db/migrate/migrate.ts';
import { emptyDatabase, type OldDatabase, oldDatabase } from '../support/old-database.ts';
import { describeSchema } from '../support/schema-description.ts';

/**
 * The schema of installations that were migrated to version 17 before its migrations were divided
 * into parts.
 */
const SCHEMA_17 = new URL('./schema-0017.sql', import.meta.url);

let old: OldDatabase;
let inParts: OldDatabase;
let fresh: OldDatabase;
beforeAll(async () => {
  old = await emptyDatabase();
  inParts = await oldDatabase();
  fresh = await emptyDatabase();
});
afterAll(() => Promise.all([old.close(), inParts.close(), fresh.close()]));

test('all ways lead to one schema: migrated before there were parts, in parts, and at once', async () => {
  await migrate(old.url, { upTo: 17 });
  await old.client`ALTER TABLE payloads ADD COLUMN bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(payload::text)) STORED`;
  expect(await describeSchema(old.client)).toBe(await readFile(SCHEMA_17, 'utf8'));

  await Promise.all([migrate(old.url), migrate(inParts.url), migrate(fresh.url)]);
  const schema = await describeSchema(fresh.client);
  expect(await describeSchema(old.client)).toBe(schema);
  expect(await describeSchema(inParts.client)).toBe(schema);
});

test('the size of a payload is that of its text, after an insert and after a change', async () => {
  const user = '00000000-0000-7000-8000-000000000001';
  await fresh.client`INSERT INTO users (id, email, password_hash) VALUES (${user}, 'ann@example.com', '!')`;
  await fresh.client`
    INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status)
    VALUES (${user}, ${user}, 'w', 'HEARTBEAT', 1, 3, 'COMPLETED')`;
  const size = async () => {
    const [row] = await fresh.client`SELECT bytes FROM payloads`;
    return row?.bytes;
  };
  await fresh.client`INSERT INTO payloads (workflow_id, generation, payload) VALUES (${user}, 1, '{"a": 1}')`;
  expect(await size()).toBe(8);
  await fresh.client`UPDATE payloads SET payload = '{"a": 1000}'`;
  expect(await size()).toBe(11);
});
