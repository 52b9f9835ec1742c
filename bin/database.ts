import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type Connection, connect, type Db, tryToWrite } from '../db/client.ts';
import { connectionProblem } from '../db/connection-check.ts';
import { retry } from '../platform/async/retry.ts';
import type { DataDir } from '../platform/data-dir.ts';
import { reasonOf } from '../platform/outage-log.ts';
import { shownDatabase } from '../platform/postgres/address.ts';
import { isDatabaseOutage } from '../platform/postgres/outage.ts';
import type { CommandContext } from './context.ts';
import { progress } from './progress.ts';
import { PartUnreachable, StartupError } from './startup-error.ts';

/** How long to wait for a database that starts at the same time. */
const WAIT_MS_MAX = 30_000;
const LOOK_MS = 250;
const PASSWORD_BYTES = 24;

/** Returns the URL of the database. An embedded one is started in `dataDir`. */
export async function startDatabase({ settings, log, shutdown }: CommandContext, dataDir: DataDir | undefined) {
  if (settings.databaseUrl !== undefined) return settings.databaseUrl;
  if (dataDir === undefined) throw new Error('An embedded database needs the data folder.');
  const done = progress(log, 'database');
  const { startEmbeddedPostgres } = await import('../platform/postgres/embedded.ts');
  const postgres = await startEmbeddedPostgres({
    folder: join(dataDir.path, 'postgres'),
    password: await dataDir.keep('postgres.password', () => randomBytes(PASSWORD_BYTES).toString('base64url')),
    log,
    onLost(error) {
      log.fatal({ err: error }, 'The embedded PostgreSQL is lost, and this process ends.');
      process.exit(1);
    },
  });
  shutdown.add('database', 'database', postgres.close);
  done(`embedded PostgreSQL ${postgres.version} in ${dataDir.path}`);
  return postgres.url;
}

/**
 * A pool on the database. The database answers when this resolves. Throws a StartupError if
 * DATABASE_URL itself is wrong.
 */
export async function openDatabase(context: CommandContext, url: string, connectionsMax: number): Promise<Connection> {
  const { log, outages, shutdown, settings } = context;
  const done = progress(log, 'database');
  const place = shownDatabase(url);
  const connection = connect(url, {
    max: connectionsMax,
    application: 'chronoverse',
    tls: settings.databaseTls,
  });
  shutdown.add('database connections', 'database connections', connection.close);
  let isReported = false;
  const retries = {
    minMs: LOOK_MS,
    maxMs: LOOK_MS,
    signal: shutdown.signal,
    timeoutMs: (error: unknown) => (error instanceof StartupError ? 0 : WAIT_MS_MAX),
  };
  await retry(retries, async () => {
    const problem = await connectionProblem(connection.db);
    if (problem === undefined) return;
    if (problem.passes && !isReported) log.warn(`database: ${place} does not answer yet (${problem.message})`);
    isReported = true;
    const sentence = `The database at ${place} cannot be used: ${problem.message}. Check DATABASE_URL.`;
    // A wrong password stays wrong.
    throw problem.passes ? new PartUnreachable(sentence) : new StartupError(sentence);
  });
  outages.watch({
    log,
    isOutage: isDatabaseOutage,
    isUp: () => canWrite(connection.lone),
    begins: (error) => `The database cannot be used (${reasonOf(error)}). What needs it waits and goes on by itself.`,
    ends: 'The database can be used again.',
    signal: shutdown.signal,
  });
  if (settings.databaseUrl !== undefined) done(`PostgreSQL at ${place}`);
  return connection;
}

/**
 * A pool for the api alone. Its statements are short, so one that is not is stuck behind a lock: it
 * must not keep a connection for as long as that lasts, and none from the workers.
 */
export function openApiDatabase({ settings, shutdown }: CommandContext, url: string): Db {
  const { db, close } = connect(url, {
    max: API_CONNECTIONS_MAX,
    application: 'chronoverse',
    tls: settings.databaseTls,
    statementSecondsMax: API_STATEMENT_SECONDS_MAX,
  });
  shutdown.add('database connections', 'database connections of the api', close);
  return db;
}

const API_CONNECTIONS_MAX = 10;
const API_STATEMENT_SECONDS_MAX = 30;

/** A read-only database is not usable either. */
async function canWrite(db: Db): Promise<boolean> {
  return tryToWrite(db).then(
    () => true,
    () => false, // the outage log says so already
  );
}
