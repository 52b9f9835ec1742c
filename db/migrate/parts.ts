import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { indexOf, type Migration, type Part } from './migrations.ts';

export interface PartOptions {
  /** Receives a sentence for each part, and whenever something takes long. */
  report?: (message: string) => void;
  rowsPerStep?: number;
  watch?: Watch;
}

/** Lets a test look at the database from another session at the critical moments. */
export interface Watch {
  /**
   * Called when every statement of a part or a step has run and its transaction is about to commit.
   */
  beforeCommit?: (part: Part, migration: Migration, transaction: postgres.TransactionSql) => Promise<void>;
  /** Called when the backend with this id is about to create an index. */
  beforeIndex?: (part: Part, migration: Migration, backend: number) => Promise<void>;
}

/**
 * The progress of an incomplete migration: its first `part` parts are done, and the steps of the
 * next part up to `position`.
 */
interface Progress {
  part: number;
  position: string;
}

/** The backend that holds the migration lock, and the client whose only connection it serves. */
export interface Turn {
  client: postgres.Sql;
  backend: number;
}

const FIRST_POSITION = '00000000-0000-0000-0000-000000000000';
const ROWS_PER_STEP = 1_000;
const REPORT_MS = 5_000;

/**
 * A statement that waits for a lock blocks all later ones. So it waits at most LOCK_MS_MAX and
 * tries again after LOCK_PAUSE_MS.
 */
const LOCK_MS_MAX = 200;
const LOCK_PAUSE_MS = 1_000;
const LOCK_TRIES_MAX = 600;
/**
 * Autovacuum yields to a session that has waited for deadlock_timeout, which is one second by
 * default. It checks at the same interval.
 */
const VACUUM_MS_MAX = 500;

/** Applies the missing parts of a migration. The last one records that it is complete. */
export async function applyParts(turn: Turn, migration: Migration, options: PartOptions): Promise<void> {
  const { version, name, parts } = migration;
  const { rowsPerStep = ROWS_PER_STEP, watch, report } = options;
  const [begun] = await turn.client<Progress[]>`
    SELECT part, position FROM schema_migration_progress WHERE version = ${version}`;
  let progress = begun ?? { part: 0, position: FIRST_POSITION };
  for (const [index, part] of parts.entries()) {
    if (index < progress.part) continue;
    const label = `${name} ${part.does} (part ${index + 1} of ${parts.length})`;
    report?.(label);
    const sayProgress = sparing(report, Date.now());
    const sayWait = sparing(report, 0);
    if (part.kind === 'index') await makeIndex(turn, part, () => watch?.beforeIndex?.(part, migration, turn.backend));
    for (let steps = 1; progress.part === index; steps++) {
      const from = progress.position;
      const commit = async (tx: postgres.TransactionSql) => {
        const position = await run(tx, part, from, rowsPerStep);
        const next = position === undefined ? { part: index + 1, position: FIRST_POSITION } : { part: index, position };
        await note(tx, migration, next);
        await watch?.beforeCommit?.(part, migration, tx);
        return next;
      };
      progress = await withShortLocks(turn, commit, (error) => sayWait(`${label} waits for a lock: ${error.message}`));
      sayProgress(`${label}: ${steps} steps of at most ${rowsPerStep} rows in this run`);
    }
  }
}

/** Runs a part, or one of its steps. A returned position means that more steps follow. */
async function run(tx: postgres.TransactionSql, part: Part, from: string, rows: number): Promise<string | undefined> {
  if (part.kind === 'index') return undefined; // makeIndex has created it
  if (part.kind === 'part') {
    await tx.unsafe(part.text);
    return undefined;
  }
  const [last] = await tx.unsafe<{ position: string }[]>(part.text, [from, rows]);
  return last?.position;
}

async function note(
  tx: postgres.TransactionSql,
  { version, name, parts }: Migration,
  { part, position }: Progress,
): Promise<void> {
  if (part < parts.length) {
    await tx`
      INSERT INTO schema_migration_progress (version, part, position) VALUES (${version}, ${part}, ${position})
      ON CONFLICT (version) DO UPDATE SET part = excluded.part, position = excluded.position, updated_at = now()`;
    return;
  }
  await tx`DELETE FROM schema_migration_progress WHERE version = ${version}`;
  await tx`INSERT INTO schema_migrations (version, name) VALUES (${version}, ${name})`;
}

/**
 * Creates the index, and first drops an invalid one that a stopped call has left. Readers and
 * writers of the table do not wait for this.
 */
async function makeIndex(
  { client, backend }: Turn,
  part: Part,
  before: () => Promise<void> | undefined,
): Promise<void> {
  const name = indexOf(part);
  const [invalid] = await client`SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(${name}) AND NOT indisvalid`;
  if (invalid !== undefined) await client.unsafe(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await before();
  await checkBackend(client, backend);
  await client.unsafe(part.text);
}

/**
 * Runs `work` in a transaction. If a lock is not free within a moment, it tries again after a
 * pause.
 */
async function withShortLocks<T>(
  { client, backend }: Turn,
  work: (tx: postgres.TransactionSql) => Promise<T>,
  onWait: (error: Error) => void,
): Promise<T> {
  let lockMs = LOCK_MS_MAX;
  for (let tries = 1; ; tries++) {
    try {
      const results = await client.begin(async (tx) => {
        await tx.unsafe(`SET LOCAL lock_timeout = ${lockMs}`);
        await checkBackend(tx, backend);
        return [await work(tx)] as const;
      });
      return results[0];
    } catch (error) {
      if (!isLockFailure(error) || tries === LOCK_TRIES_MAX) throw error;
      onWait(error);
      await delay(LOCK_PAUSE_MS);
      lockMs = (await deadlockTimeoutBesideVacuum(client)) ?? LOCK_MS_MAX;
    }
  }
}

/**
 * How many milliseconds to wait if a session, such as autovacuum, holds a lock of the kind that
 * autovacuum takes. Other sessions then queue behind this one for that long; with a shorter wait,
 * this one would never get the lock.
 */
async function deadlockTimeoutBesideVacuum(client: postgres.Sql): Promise<number | undefined> {
  const [row] = await client<{ ms: number }[]>`
    SELECT setting::integer + ${VACUUM_MS_MAX}::integer AS ms FROM pg_settings WHERE name = 'deadlock_timeout' AND EXISTS (
      SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
      WHERE datname = current_database() AND mode = 'ShareUpdateExclusiveLock' AND granted AND pid <> pg_backend_pid())`;
  return row?.ms;
}

/**
 * Throws if the connection that held the migration lock was lost: postgres.js reconnects by itself,
 * and another process could then migrate too.
 */
async function checkBackend(client: postgres.ISql, backend: number): Promise<void> {
  const [row] = await client<{ same: boolean }[]>`SELECT pg_backend_pid() = ${backend} AS same`;
  if (row?.same) return;
  throw new Error(
    'The connection to the database was lost. Run `chronoverse migrate` again: it goes on where it was stopped.',
  );
}

/** lock_not_available and deadlock_detected. */
function isLockFailure(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError && (error.code === '55P03' || error.code === '40P01');
}

/**
 * Reports at most one message per REPORT_MS, the first one REPORT_MS after `last`, and drops the
 * others.
 */
function sparing(report: PartOptions['report'], last: number): (message: string) => void {
  return (message) => {
    if (Date.now() - last < REPORT_MS) return;
    last = Date.now();
    report?.(message);
  };
}
