import { randomBytes } from 'node:crypto';
import { type SQL, sql } from 'drizzle-orm';
import postgres from 'postgres';
import { inject } from 'vitest';
import { connect, type Db } from '../../db/client.ts';
import { users } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { withDatabase } from './global-setup.ts';

export interface TestDatabase {
  url: string;
  db: Db;
  /** Ends the pool and drops the database. */
  close(): Promise<void>;
}

/** A migrated database for the caller alone. Each test file makes one. */
export async function testDatabase(): Promise<TestDatabase> {
  const name = `cvtest_${randomBytes(8).toString('hex')}`;
  const admin = postgres(inject('adminUrl'), { max: 1, onnotice: () => undefined });
  await clone(admin, name);
  const url = withDatabase(inject('adminUrl'), name);
  const connection = connect(url, { max: 10, application: 'chronoverse-test' });
  return {
    url,
    db: connection.db,
    close: async () => {
      await connection.close();
      await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end({ timeout: 5 });
    },
  };
}

/**
 * The lock makes clones take turns: PostgreSQL cannot clone a template while it is being cloned.
 */
async function clone(admin: postgres.Sql, name: string): Promise<void> {
  await admin`SELECT pg_advisory_lock(724001)`;
  try {
    await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${inject('template')}`);
  } finally {
    await admin`SELECT pg_advisory_unlock(724001)`;
  }
}

/** An account that owns the rows of a test. Its password hash is invalid, so it cannot sign in. */
export async function testUser(db: Db, name: string): Promise<string> {
  const id = newId();
  await db.insert(users).values({ id, email: `${name}-${id}@example.com`, passwordHash: '!' });
  return id;
}

/**
 * Asks for the sessions that wait for a lock on the table. The databases of other tests are copies,
 * in which the table has the same id.
 */
export function waitersFor(table: string): SQL {
  return sql`
    SELECT pid FROM pg_locks WHERE NOT granted
      AND (relation = ${table}::regclass OR relation IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ${table}::regclass))
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
}

/** The database's clock, with which schedules and leases are compared. */
export async function databaseNow(db: Db): Promise<Date> {
  const [row] = await db.execute<{ now: string }>(sql`SELECT now() AS now`);
  return new Date(row?.now ?? Number.NaN);
}
