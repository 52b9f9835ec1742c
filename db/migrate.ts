import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import type { TlsMaterial } from '../platform/pem.ts';
import { type Db, PLANNER } from './client.ts';
import { makeLogPartitions } from './log-partitions.ts';
import { indexOf, type Migration, type Part, readMigrations } from './migrations.ts';
import { sslOptions } from './tls.ts';

/** Any constant: all that migrate the same database take turns by it. */
const ADVISORY_LOCK = 5_243_991;
const TURN_POLL_MS = 200;
/** A statement that waits for a lock holds up all that come after it, so it waits for a moment alone, and tries again later. */
const LOCK_MS_MAX = 200;
const LOCK_PAUSE_MS = 1_000;
const LOCK_TRIES_MAX = 600;
const ROWS_PER_STEP = 1_000;
const REPORT_SECONDS = 5;
const FIRST_POSITION = '00000000-0000-0000-0000-000000000000';

export interface MigrateOptions {
  tls?: TlsMaterial | undefined;
  /** Is given a sentence when something takes long. */
  report?: (message: string) => void;
  /** The version to stop at, instead of this program's. */
  upTo?: number;
  rowsPerStep?: number;
  watch?: Watch;
}

/** Lets a test look at the database from another session at each instant that matters. */
export interface Watch {
  /** Every statement of a part, or of one step, has run, and its transaction is about to commit. */
  beforeCommit?: (part: Part, migration: Migration, transaction: postgres.TransactionSql) => Promise<void>;
  /** An index is about to be made by the backend with this id. */
  beforeIndex?: (part: Part, migration: Migration, backend: number) => Promise<void>;
}

/** How far the migration of a version has come that is not complete: `part` of its parts are, and of the next one's steps those up to `position`. */
interface Progress {
  part: number;
  position: string;
}

/**
 * Brings the database at `url` to this program's version while others use it, and returns the names of the migrations that it completed. Each
 * part of a migration is a transaction of its own that also notes how far the migration has come, so that the next call goes on where this one was
 * stopped. Two that migrate at once take turns. Rejects when the database is newer than the program.
 */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<string[]> {
  const client = postgres(url, {
    ...sslOptions(url, options.tls),
    max: 1,
    max_lifetime: null, // another connection would not have the lock
    onnotice: () => undefined,
    connection: { application_name: 'chronoverse-migrate', statement_timeout: 0, lock_timeout: 0, ...PLANNER },
  });
  try {
    const migrations = await readMigrations();
    const backend = await takeTurn(client, options.report);
    await client`
      CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`;
    await client`
      CREATE TABLE IF NOT EXISTS schema_migration_progress (
        version integer PRIMARY KEY, part integer NOT NULL, position uuid NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())`;
    const [row] = await client<{ version: number }[]>`
      SELECT coalesce(max(version), 0) AS version FROM schema_migrations`;
    const current = row?.version ?? 0;
    if (current > migrations.length) throw new Error(newer(current, migrations.length));
    const missing = migrations.slice(current, options.upTo);
    if (current === 0) await makeAll(client, missing);
    else for (const migration of missing) await apply(client, migration, backend, options);
    // Before the first line is stored.
    if (options.upTo === undefined) await makeLogPartitions(drizzle(client), { daysAhead: 1 });
    return missing.map((migration) => migration.name);
  } finally {
    await client.end({ timeout: 5 }); // which releases the lock too
  }
}

/**
 * Takes the lock that says who migrates, and returns the id of the backend that holds it. It asks again and again: a statement that waits for
 * the lock would have a snapshot, for whose end an index that is made concurrently waits, and the two would wait for each other.
 */
async function takeTurn(client: postgres.Sql, report: MigrateOptions['report']): Promise<number> {
  for (let tries = 1; ; tries++) {
    const [row] = await client<{ taken: boolean; backend: number }[]>`
      SELECT pg_try_advisory_lock(${ADVISORY_LOCK}) AS taken, pg_backend_pid() AS backend`;
    if (row?.taken) return row.backend;
    if (tries === 1) report?.('waits for another process that migrates this database');
    await delay(TURN_POLL_MS);
  }
}

/**
 * Of a new installation: nobody uses it and it has no rows, so everything is one transaction, in an eighth of the time (0.2 instead of 1.7 seconds).
 */
async function makeAll(client: postgres.Sql, migrations: Migration[]): Promise<void> {
  await client.begin(async (tx) => {
    for (const { version, name, parts } of migrations) {
      const texts = parts
        .filter(({ kind }) => kind !== 'steps')
        .map(({ text }) => text.replace('INDEX CONCURRENTLY', 'INDEX'));
      await tx.unsafe(texts.join('\n'));
      await tx`INSERT INTO schema_migrations (version, name) VALUES (${version}, ${name})`;
    }
  });
}

async function apply(
  client: postgres.Sql,
  migration: Migration,
  backend: number,
  options: MigrateOptions,
): Promise<void> {
  const { version, name, parts } = migration;
  const [begun] = await client<Progress[]>`
    SELECT part, position FROM schema_migration_progress WHERE version = ${version}`;
  let progress = begun ?? { part: 0, position: FIRST_POSITION };
  const say = reporter(options.report, Date.now());
  const sayWait = reporter(options.report, 0);
  for (let steps = 0; ; steps++) {
    const part = parts[progress.part];
    if (part === undefined) return;
    const label = `${name} ${part.does} (part ${progress.part + 1} of ${parts.length})`;
    if (part.kind === 'index') {
      say(label);
      await makeIndex(client, part, backend, () => options.watch?.beforeIndex?.(part, migration, backend));
    }
    if (part.kind === 'steps')
      say(`${label}: up to ${steps * (options.rowsPerStep ?? ROWS_PER_STEP)} rows in this run`);
    progress = await withShortLocks(
      client,
      backend,
      async (tx) => {
        const next = await run(tx, part, progress, options.rowsPerStep ?? ROWS_PER_STEP);
        if (next.part < parts.length) {
          await tx`
            INSERT INTO schema_migration_progress (version, part, position) VALUES (${version}, ${next.part}, ${next.position})
            ON CONFLICT (version) DO UPDATE SET part = excluded.part, position = excluded.position, updated_at = now()`;
        } else {
          await tx`DELETE FROM schema_migration_progress WHERE version = ${version}`;
          await tx`INSERT INTO schema_migrations (version, name) VALUES (${version}, ${name})`;
        }
        await options.watch?.beforeCommit?.(part, migration, tx);
        return next;
      },
      (error) => sayWait(`${label}: waits for a lock that another transaction holds (${error.message})`),
    );
    if (part !== parts[progress.part]) steps = -1;
  }
}

/** Runs a part, or one of its steps; returns how far the migration is then. */
async function run(
  tx: postgres.TransactionSql,
  part: Part,
  { part: index, position }: Progress,
  rows: number,
): Promise<Progress> {
  if (part.kind === 'steps') {
    const [last] = await tx.unsafe<{ position: string }[]>(part.text, [position, rows]);
    if (last !== undefined) return { part: index, position: last.position };
  }
  if (part.kind === 'part') await tx.unsafe(part.text);
  return { part: index + 1, position: FIRST_POSITION };
}

/** Makes the index anew where a call that was stopped has left an invalid one. Holds a lock that no reader or writer of the table waits for. */
async function makeIndex(
  client: postgres.Sql,
  part: Part,
  backend: number,
  before: () => Promise<void> | undefined,
): Promise<void> {
  const name = indexOf(part);
  const [invalid] = await client`SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(${name}) AND NOT indisvalid`;
  if (invalid !== undefined) await client.unsafe(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await before();
  await checkBackend(client, backend);
  await client.unsafe(part.text);
}

/** Runs `work` in a transaction; again, after a pause, when it did not get a lock within a moment. */
async function withShortLocks<T>(
  client: postgres.Sql,
  backend: number,
  work: (tx: postgres.TransactionSql) => Promise<T>,
  onWait: (error: Error) => void,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      const results = await client.begin(async (tx) => {
        await tx.unsafe(`SET LOCAL lock_timeout = ${LOCK_MS_MAX}`);
        await checkBackend(tx, backend);
        return [await work(tx)] as const;
      });
      return results[0];
    } catch (error) {
      if (!isLockFailure(error) || tries === LOCK_TRIES_MAX) throw error;
      onWait(error);
      await delay(LOCK_PAUSE_MS);
    }
  }
}

/** The connection that took the lock may have been lost, and postgres.js connects again by itself: others could migrate beside us. */
async function checkBackend(client: postgres.ISql, backend: number): Promise<void> {
  const [row] = await client<{ same: boolean }[]>`SELECT pg_backend_pid() = ${backend} AS same`;
  if (!row?.same)
    throw new Error(
      'The connection to the database was lost. Run `chronoverse migrate` again: it goes on where it was stopped.',
    );
}

/** lock_not_available and deadlock_detected. */
function isLockFailure(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError && (error.code === '55P03' || error.code === '40P01');
}

/** Says at most one sentence in REPORT_SECONDS, the first of them so long after `last`. */
function reporter(report: MigrateOptions['report'], last: number): (message: string) => void {
  return (message) => {
    if (Date.now() - last < REPORT_SECONDS * 1_000) return;
    last = Date.now();
    report?.(message);
  };
}

/** Undefined when the database is at this program's version, else a sentence that says what to do. */
export async function checkVersion(db: Db): Promise<string | undefined> {
  const wanted = (await readMigrations()).length;
  const [tables] = await db.execute<{ complete: string | null; begun: string | null }>(sql`
    SELECT to_regclass('schema_migrations')::text AS complete, to_regclass('schema_migration_progress')::text AS begun`);
  const [row] = tables?.complete
    ? await db.execute<{ version: number }>(sql`SELECT coalesce(max(version), 0) AS version FROM schema_migrations`)
    : [];
  const current = row?.version ?? 0;
  if (current === wanted) return undefined;
  if (current > wanted) return newer(current, wanted);
  const [begun] = tables?.begun
    ? await db.execute<{ version: number }>(sql`SELECT version FROM schema_migration_progress`)
    : [];
  if (begun === undefined)
    return `The database is at version ${current} and this program needs ${wanted}: run \`chronoverse migrate\` once, then start again.`;
  return `The database is at version ${current} and on its way to version ${begun.version}, and this program needs ${wanted}: \`chronoverse migrate\` is at work or was stopped. Wait for its end, or run it again, which goes on where it was stopped; then start again.`;
}

function newer(current: number, wanted: number): string {
  return `The database is at version ${current} and this program knows ${wanted} at most: start a newer program (\`chronoverse migrate\` cannot go back).`;
}
