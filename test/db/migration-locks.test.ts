import { readdir, readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../db/migrate/migrate.ts';
import type { Part } from '../../db/migrate/migrations.ts';
import { fill, type OldDatabase, oldDatabase, ROWS_PER_STEP } from '../support/old-database.ts';
import { untilSlow } from '../support/time.ts';

/** Lock modes for which a reader or a writer of the table must wait, strongest last. */
const STRONG = ['SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'];
/** The most rows of tables in use that a part may read or write while it holds such a lock. */
const ROWS_UNDER_LOCK_MAX = 10;

/** Tables that never have more rows. */
const SMALL = ['installations', 'turn_rounds'];

const MIGRATIONS = new URL('../../db/migrations/', import.meta.url);
const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();

let database: OldDatabase;
/** A client of the installation that fails if it waits long for a lock. */
let client: postgres.Sql;
beforeAll(async () => {
  database = await oldDatabase();
  client = postgres(database.url, { max: 1, connection: { lock_timeout: 2_000 } });
});
afterAll(async () => {
  await client.end();
  await database.close();
});

/**
 * The order matters: each migration finds the database as the one before has left it, with rows in
 * every table.
 */
describe.sequential('a migration locks tables in use only for a moment, as its header says', () => {
  test.each(names.slice(1).map((name, index) => [name, index + 2] as const))('%s', async (name, version) => {
    const before = await tables();
    expect(
      await tablesOfFewRows(before),
      'tables in which a scan would not show: test/support/old-database.ts fills them',
    ).toEqual([]);
    const held = new Set<string>();
    const atWork: Promise<void>[] = [];
    await migrate(database.url, {
      upTo: version,
      rowsPerStep: ROWS_PER_STEP,
      watch: {
        async beforeCommit(part, _migration, tx) {
          const [self] = await tx<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
          const locks = await locksOf(self?.pid ?? 0, before);
          for (const lock of locks) held.add(lock);
          const rows = await rowsOf(tx, before);
          if (locks.length > 0)
            expect(rows, `rows under a lock, where it ${part.does}`).toBeLessThanOrEqual(ROWS_UNDER_LOCK_MAX);
          else await useEverything();
          expect(await rewritten(tx, before), `tables that are written anew where it ${part.does}`).toEqual([]);
        },
        async beforeIndex(part, _migration, backend) {
          atWork.push((await watchIndex(part, backend, before)).end);
        },
      },
    });
    await Promise.all(atWork);
    expect([...held].sort()).toEqual(await declared(name));
    await fill(database.client, version);
  });
});

test.each([
  ['a check of a new column', `ALTER TABLE users ADD COLUMN x text NOT NULL DEFAULT 'a' CHECK (x IN ('a', 'b'))`],
  ['an index', 'CREATE INDEX ON workflows (id) WHERE deleted_at IS NULL'],
  [
    'a column that is filled with what is read',
    'ALTER TABLE users ADD COLUMN x int; UPDATE users SET x = (SELECT count(*) FROM jobs)',
  ],
  [
    'a generated column',
    'ALTER TABLE payloads ADD COLUMN x int GENERATED ALWAYS AS (octet_length(payload::text)) STORED',
  ],
])('%s under a lock is found by these tests', async (_what, text) => {
  const before = await tables();
  const admin = postgres(database.url, { max: 1 });
  await admin
    .begin(async (tx) => {
      await tx.unsafe(text);
      const [self] = await tx<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
      expect(await locksOf(self?.pid ?? 0, before)).toHaveLength(1);
      expect(await rowsOf(tx, before)).toBeGreaterThan(ROWS_UNDER_LOCK_MAX);
      expect(await rewritten(tx, before)).toEqual(text.includes('GENERATED') ? ['payloads'] : []);
      throw new Undone();
    })
    .catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error;
    });
  await admin.end();
});

class Undone extends Error {}

interface Table {
  name: string;
  oid: number;
  file: number;
}

async function tables(): Promise<Table[]> {
  return database.client<Table[]>`
    SELECT relname AS name, oid::int, relfilenode::int AS file FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname NOT LIKE 'schema_migration%'`;
}

async function tablesOfFewRows(before: Table[]): Promise<string[]> {
  const few: string[] = [];
  for (const { name } of before.filter((table) => !SMALL.includes(table.name))) {
    const [row] = await database.client<{ rows: number }[]>`SELECT count(*)::int AS rows FROM ${database.client(name)}`;
    if (row === undefined || row.rows <= ROWS_UNDER_LOCK_MAX) few.push(name);
  }
  return few;
}

/**
 * The strongest mode that the backend holds on each of these tables, if other sessions wait for it.
 */
async function locksOf(pid: number, before: Table[]): Promise<string[]> {
  const rows = await database.client<{ relation: number; mode: string }[]>`
    SELECT relation::int, mode FROM pg_locks WHERE pid = ${pid} AND locktype = 'relation' AND granted`;
  return before.flatMap(({ name, oid }) => {
    const modes = rows.filter((row) => row.relation === oid).map(({ mode }) => wordsOf(mode));
    const strongest = STRONG.findLast((mode) => modes.includes(mode));
    return strongest === undefined ? [] : [`${name} ${strongest}`];
  });
}

/** Turns AccessExclusiveLock into ACCESS EXCLUSIVE. */
function wordsOf(mode: string): string {
  return mode
    .replace(/Lock$/, '')
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toUpperCase();
}

/** The number of rows of these tables that the transaction has read and written so far. */
async function rowsOf(tx: postgres.TransactionSql, before: Table[]): Promise<number> {
  const [row] = await tx<{ rows: number }[]>`
    SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del), 0)::int AS rows
    FROM pg_stat_xact_user_tables WHERE relid::int = ANY(${before.map(({ oid }) => oid)})`;
  // Otherwise the next transaction would include the counts of this one.
  await tx`SELECT pg_stat_force_next_flush()`;
  return row?.rows ?? Number.NaN;
}

async function rewritten(tx: postgres.TransactionSql, before: Table[]): Promise<string[]> {
  const rows = await tx<
    Table[]
  >`SELECT relname AS name, oid::int, relfilenode::int AS file FROM pg_class WHERE relkind IN ('r', 'p')`;
  const files = new Map(rows.map(({ oid, file }) => [oid, file]));
  return before.filter(({ oid, file }) => files.get(oid) !== file).map(({ name }) => name);
}

/**
 * Stops the creation of an index half-way with a writer whose transaction it waits for, and then
 * reads its locks.
 */
async function watchIndex(part: Part, backend: number, before: Table[]): Promise<{ end: Promise<void> }> {
  const [, table = ''] = / ON (\w+) /.exec(part.text) ?? [];
  const writer = postgres(database.url, { max: 1 });
  await writer.unsafe(`BEGIN; LOCK TABLE ${table} IN ROW EXCLUSIVE MODE`);
  const watch = async () => {
    try {
      await untilSlow('the index waits for the writer', async () => {
        const waits = await database.client`
          SELECT 1 FROM pg_locks WHERE pid = ${backend} AND locktype = 'virtualxid' AND NOT granted`;
        return waits.length > 0;
      });
      expect(await locksOf(backend, before)).toEqual([]);
      await useEverything();
    } finally {
      await writer.end();
    }
  };
  return { end: watch() };
}

let uses = 0;

/**
 * Fails if a statement waits for a lock. It throws a different error, because migrate would treat a
 * lock timeout as its own.
 */
async function useEverything(): Promise<void> {
  await readAndWrite().catch((error: unknown) => {
    throw new Error('A client had to wait.', { cause: error });
  });
}

/** The statements of the processes of the previous version, each in its own transaction. */
async function readAndWrite(): Promise<void> {
  const n = String(++uses);
  await client`SELECT count(*) FROM users JOIN tokens ON user_id = users.id`;
  await client`UPDATE tokens SET last_used_at = now()`;
  await client`UPDATE users SET password_hash = '?' WHERE id = md5('user2')::uuid`;
  await client`INSERT INTO users (id, email, password_hash) VALUES (md5('new user' || ${n})::uuid, ${`new-${n}`}, '!')`;
  await client`
    INSERT INTO workflows (id, user_id, name, kind, interval_minutes, max_consecutive_job_failures_allowed, build_status)
    VALUES (md5('new workflow' || ${n})::uuid, md5('user1')::uuid, 'new', 'HEARTBEAT', 1, 3, 'COMPLETED')`;
  await client`INSERT INTO payloads (workflow_id, generation, payload) VALUES (md5('new workflow' || ${n})::uuid, 1, '{}')`;
  await client`
    INSERT INTO schedules (workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at)
    VALUES (md5('new workflow' || ${n})::uuid, md5('user1')::uuid, 'HEARTBEAT', 'READY', 1, 1, now())`;
  await client`UPDATE workflows SET name = 'changed'`;
  await client`UPDATE schedules SET wake_at = now() WHERE workflow_id = md5('new workflow' || ${n})::uuid`;
  await client`
    INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at)
    VALUES (md5('new job' || ${n})::uuid, md5('new workflow' || ${n})::uuid, md5('user1')::uuid, 'HEARTBEAT', 'AUTOMATIC', 'QUEUED', 1, now())`;
  await client`
    UPDATE jobs SET status = 'COMPLETED', started_at = now(), completed_at = now() WHERE id = md5('new job' || ${n})::uuid`;
  await client`SELECT count(*) FROM workflows JOIN payloads ON workflow_id = id JOIN builds USING (workflow_id)`;
}

/** The tables and modes in the header of a migration, such as `users (SHARE, ACCESS EXCLUSIVE)`. */
async function declared(name: string): Promise<string[]> {
  const text = await readFile(new URL(name, MIGRATIONS), 'utf8');
  const [header = ''] = text.split(/^(?!--)|^-- (?:part|steps|index): /m);
  const locks = [...header.matchAll(/(\w+) \(([A-Z ,]+)\)/g)];
  return locks.flatMap(([, table, modes = '']) => modes.split(', ').map((mode) => `${table} ${mode}`)).sort();
}
