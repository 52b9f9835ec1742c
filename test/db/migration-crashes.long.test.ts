import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkVersion, migrate } from '../../db/migrate/migrate.ts';
import { readMigrations } from '../../db/migrate/migrations.ts';
import { fill, type OldDatabase, oldDatabase, ROWS_PER_STEP } from '../support/old-database.ts';
import { describeSchema } from '../support/schema-description.ts';
import { untilSlow } from '../support/time.ts';

let undisturbed: OldDatabase;
let killed: OldDatabase;
beforeAll(async () => {
  undisturbed = await oldDatabase();
  killed = await oldDatabase();
});
afterAll(() => Promise.all([undisturbed.close(), killed.close()]));

test('a migration killed at the end of each part, within steps and before an index ends like an undisturbed one', async () => {
  const migrations = await readMigrations();
  let kills = 0;
  for (const { version } of migrations.slice(1)) {
    while (await dies(version)) kills++;
    await migrate(undisturbed.url, { upTo: version, rowsPerStep: ROWS_PER_STEP });
    await fill(undisturbed.client, version);
    await fill(killed.client, version);
  }
  // Steps and indexes are killed more than once.
  expect(kills).toBeGreaterThan(migrations.flatMap(({ parts }) => parts).length);
  expect(await describeSchema(killed.client)).toBe(await describeSchema(undisturbed.client));
  expect(await contents(killed.client)).toEqual(await contents(undisturbed.client));
});

test('an index whose creation was killed half-way is created anew', async () => {
  const database = await oldDatabase();
  try {
    await migrate(database.url, { upTo: 8 });
    const writer = postgres(database.url, { max: 1 });
    await writer.unsafe('BEGIN; LOCK TABLE workflows IN ROW EXCLUSIVE MODE');
    const died = expect(migrate(database.url, { upTo: 9 })).rejects.toThrow();
    const waiting = await untilSlow('the index waits for the writer', async () => {
      const [row] = await database.client<{ pid: number }[]>`
        SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE datname = current_database() AND locktype = 'virtualxid' AND NOT granted`;
      return row;
    });
    await kill(database.client, waiting.pid);
    await died;
    await writer.end();
    const isValid = () =>
      database.client`SELECT indisvalid FROM pg_index WHERE indexrelid = 'workflows_deleted'::regclass`;
    expect([...(await isValid())]).toEqual([{ indisvalid: false }]);
    await migrate(database.url, { upTo: 9 });
    expect([...(await isValid())]).toEqual([{ indisvalid: true }]);
  } finally {
    await database.close();
  }
});

test('two concurrent migrations take turns, and the second finds nothing to do', async () => {
  const database = await oldDatabase();
  try {
    const applied = await Promise.all([migrate(database.url), migrate(database.url)]);
    const all = (await readMigrations()).slice(1).map(({ name }) => name);
    expect(applied.sort((a, b) => b.length - a.length)).toEqual([all, []]);
  } finally {
    await database.close();
  }
});

test('a half-applied migration counts as not applied, and the program says so', async () => {
  const database = await oldDatabase();
  try {
    let parts = 0;
    const watch = {
      async beforeCommit() {
        if (++parts === 5) throw new Error('stopped');
      },
    };
    await expect(migrate(database.url, { upTo: 4, watch })).rejects.toThrow('stopped');
    const said = await checkVersion(drizzle(database.client));
    expect(said).toMatch(/at version 3 and on its way to version 4.* run it again, which goes on where it was stopped/);
    await migrate(database.url);
    expect(await checkVersion(drizzle(database.client))).toBeUndefined();
  } finally {
    await database.close();
  }
});

const placesOfDeath = new Set<string>();

/**
 * Migrates, and kills the backend at the first place where it was not killed before. Resolves with
 * whether it was killed.
 */
async function dies(version: number): Promise<boolean> {
  const killAt = async (place: string, pid: number) => {
    if (placesOfDeath.has(place)) return;
    placesOfDeath.add(place);
    await kill(killed.client, pid);
  };
  const before = placesOfDeath.size;
  const migration = migrate(killed.url, {
    upTo: version,
    rowsPerStep: ROWS_PER_STEP,
    watch: {
      async beforeCommit(part, { name }, tx) {
        const [self] = await tx<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
        // Kills steps before the first commit and before the last one, which then continues from a
        // position in the middle.
        const [next] = await tx`SELECT part FROM schema_migration_progress`;
        await killAt(`${name} ${part.does} ${next?.part}`, self?.pid ?? 0);
      },
      beforeIndex: (part, { name }, backend) => killAt(`${name} ${part.does}`, backend),
    },
  });
  if ((await Promise.allSettled([migration]))[0].status === 'rejected') return true;
  expect(placesOfDeath.size).toBe(before);
  return false;
}

/** Resolves when the backend has ended. */
async function kill(client: postgres.Sql, pid: number): Promise<void> {
  const [row] = await client<{ ended: boolean }[]>`SELECT pg_terminate_backend(${pid}, 30_000) AS ended`;
  expect(row?.ended).toBe(true);
}

/** Columns whose values differ from run to run. */
const VOLATILE: Record<string, string[]> = {
  volumes: ['id', 'created_at'],
  volume_copies: ['volume_id'],
  workers: ['started_at', 'seen_at'],
  engine_images: ['pulled_at', 'last_used_at', 'look_at'],
};

/** A hash of the rows of each table. */
async function contents(client: postgres.Sql): Promise<Record<string, unknown>> {
  const tables = await client<{ name: string }[]>`
    SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND relname !~ '^(log_chunks_|schema_migrations)'`;
  const found: Record<string, unknown> = {};
  for (const { name } of tables) {
    const volatile = VOLATILE[name] ?? [];
    const [row] = await client`
      SELECT count(*)::int AS rows, md5(string_agg(line, '|' ORDER BY line)) AS hash
      FROM (SELECT (to_jsonb(t) - ${volatile}::text[])::text AS line FROM ${client(name)} t) lines`;
    found[name] = row;
  }
  return found;
}
