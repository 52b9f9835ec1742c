import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../db/migrate/migrate.ts';
import { type OldDatabase, oldDatabase } from '../support/old-database.ts';
import { untilSlow } from '../support/time.ts';

let database: OldDatabase;
beforeAll(async () => {
  database = await oldDatabase();
  await migrate(database.url, { upTo: 3 });
});
afterAll(() => database.close());

/** Runs `work` while a transaction that has read users is open. */
async function besideLongReader(work: () => Promise<void>): Promise<void> {
  const reader = postgres(database.url, { max: 1 });
  await reader.unsafe('BEGIN; SELECT count(*) FROM users');
  try {
    await work();
  } finally {
    await reader.end();
  }
}

/**
 * Migrates to version 4, which locks users first. Resolves when the migration waits for that lock.
 */
async function startWaiting(): Promise<{ migrated: Promise<string[]> }> {
  const said: string[] = [];
  const migrated = migrate(database.url, { upTo: 4, report: (message) => said.push(message) });
  migrated.catch(() => undefined); // the test looks at it later
  await untilSlow('the migration waits', async () => said.some((message) => message.includes('waits for a lock')));
  return { migrated };
}

test('a migration whose connection is lost between two tries does not continue without its turn', () =>
  besideLongReader(async () => {
    const { migrated } = await startWaiting();
    await untilSlow('the backend is between two tries, and killed', async () => {
      const rows = await database.client`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'chronoverse-migrate' AND state = 'idle'`;
      return rows.length > 0;
    });
    await expect(migrated).rejects.toThrow(/Run `chronoverse migrate` again|CONNECTION/);
  }));

test('a migration waits for a vacuum as long as the vacuum takes to give way', async () => {
  const vacuum = postgres(database.url, { max: 1 });
  await vacuum.unsafe('BEGIN; LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE');
  const { migrated } = await startWaiting();
  await untilSlow('it waits for longer than for others', async () => {
    const rows = await database.client`
      SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chronoverse-migrate' AND wait_event_type = 'Lock'
        AND clock_timestamp() - query_start > current_setting('deadlock_timeout')::interval`;
    return rows.length > 0;
  });
  await database.client`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chronoverse-migrate'`;
  await expect(migrated).rejects.toThrow();
  await vacuum.end();
});

test('a migration that waits for a long reader lets all other sessions through, and continues when it can', async () => {
  const client = postgres(database.url, { max: 1, connection: { lock_timeout: 5_000 } });
  let migrating: Promise<string[]> | undefined;
  await besideLongReader(async () => {
    migrating = (await startWaiting()).migrated;
    // If the migration waited for its lock without end, the first of these updates would never
    // return.
    for (let n = 0; n < 10; n++) await client`UPDATE users SET password_hash = ${n} WHERE id = md5('user2')::uuid`;
  });
  expect(await migrating).toEqual(['0004_notifications_and_totals']);
  await client.end();
});
