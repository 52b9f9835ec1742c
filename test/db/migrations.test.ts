import { getTableColumns, getTableName, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkVersion, migrate } from '../../db/migrate/migrate.ts';
import * as schema from '../../db/schema.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { describeSchema } from '../support/schema-description.ts';

/**
 * The result of all migrations in one readable file. To write it again: npx vitest run
 * test/db/migrations.test.ts -u
 */
const DUMP = new URL('../../db/schema.sql', import.meta.url);
const HEADER = `-- The schema that the migrations in db/migrations come to. Nothing runs this file: test/db/migrations.test.ts
-- compares it with a migrated database, and writes it anew with -u.

`;

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('the tables that queries see are those that the migrations create', async () => {
  const rows = await database.db.execute<{ table: string; column: string; type: string; required: boolean }>(sql`
    SELECT table_name AS table, column_name AS column, is_nullable = 'NO' AS required,
      (SELECT format_type(atttypid, NULL) FROM pg_attribute
        WHERE attrelid = table_name::regclass AND attname = column_name) AS type -- data_type would call every array ARRAY
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name NOT LIKE 'schema_migration%' AND table_name NOT LIKE 'log_chunks_%' AND table_name NOT LIKE 'jobs_%'`);
  const migrated = rows.map((row) => `${row.table}.${row.column} ${row.type}${row.required ? ' required' : ''}`);
  const declared = Object.values<unknown>(schema)
    .filter((value) => is(value, PgTable))
    .flatMap((table) =>
      Object.values(getTableColumns(table)).map(
        (column) => `${getTableName(table)}.${column.name} ${column.getSQLType()}${column.notNull ? ' required' : ''}`,
      ),
    );
  expect(declared.sort()).toEqual(migrated.sort());
});

test('the migrations create the schema that is checked in', async () => {
  const client = postgres(database.url, { max: 1 });
  const schema = await describeSchema(client).finally(() => client.end());
  await expect(`${HEADER}${schema}`).toMatchFileSnapshot(DUMP.pathname);
});

test('migrating twice, or twice at once, changes nothing', async () => {
  expect(await Promise.all([migrate(database.url), migrate(database.url)])).toEqual([[], []]);
  expect(await checkVersion(database.db)).toBeUndefined();
});

test('a database at another version than the program is refused, with instructions', async () => {
  await database.db.execute(sql`UPDATE schema_migrations SET version = 999 WHERE version = 1`);
  expect(await checkVersion(database.db)).toMatch(/version 999 .* newer program/);
  await expect(migrate(database.url)).rejects.toThrow(/version 999/);
  await database.db.execute(sql`DELETE FROM schema_migrations`);
  expect(await checkVersion(database.db)).toMatch(/version 0 .* run `chronoverse migrate`/);
});
