import { readdir, readFile } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('the oldest account of an existing installation becomes the administrator, and sessions stay valid', async () => {
  const { db } = database;
  await db.execute(sql`ALTER TABLE users DROP COLUMN administrator, DROP COLUMN disabled_at`);
  await db.execute(sql`ALTER TABLE tokens DROP COLUMN address, DROP COLUMN user_agent`);
  await db.execute(sql`DROP TABLE known_addresses`);
  await db.execute(sql`INSERT INTO users (id, email, password_hash, created_at)
    SELECT gen_random_uuid(), n || '@example.com', '!', now() - n * interval '1 day' FROM generate_series(1, 3) n`);
  await db.execute(sql`INSERT INTO tokens (id, user_id, kind, hash, expires_at)
    SELECT gen_random_uuid(), id, 'SESSION', id::text::bytea, now() + interval '1 day' FROM users`);

  const folder = new URL('../../db/migrations/', import.meta.url);
  const name = (await readdir(folder)).find((file) => file.endsWith('_accounts_under_control.sql')) ?? '';
  await db.execute(sql.raw(await readFile(new URL(name, folder), 'utf8')));

  expect(
    await db
      .execute(sql`SELECT email FROM users WHERE administrator AND disabled_at IS NULL`)
      .then((rows) => [...rows]),
  ).toEqual([{ email: '3@example.com' }]);
  const [sessions] = await db.execute(sql`SELECT count(*)::int AS count FROM tokens WHERE address IS NULL`);
  expect(sessions).toEqual({ count: 3 });
});
