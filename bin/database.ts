import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type Connection, connect } from '../db/client.ts';
import { connectionProblem } from '../db/connection-check.ts';
import { retry } from '../platform/async/retry.ts';
import type { DataDir } from '../platform/data-dir.ts';
import type { CommandContext } from './context.ts';
import { progress } from './progress.ts';
import { StartupError } from './startup-error.ts';

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
  const { log, shutdown, settings } = context;
  const done = progress(log, 'database');
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
    if (problem.passes && !isReported) log.warn(`database: ${place(url)} does not answer yet (${problem.message})`);
    isReported = true;
    const sentence = `The database at ${place(url)} cannot be used: ${problem.message}. Check DATABASE_URL.`;
    // A wrong password stays wrong.
    throw problem.passes ? new Error(sentence) : new StartupError(sentence);
  });
  if (settings.databaseUrl !== undefined) done(`PostgreSQL at ${place(url)}`);
  return connection;
}

/** The place, without user and password. */
function place(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || 5432}${pathname}`;
}
