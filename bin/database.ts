import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, connect } from '../db/client.ts';
import { connectionProblem } from '../db/connection-check.ts';
import type { DataDir } from '../platform/data-dir.ts';
import type { CommandContext } from './context.ts';
import { progress } from './progress.ts';

/** A database that starts at the same time as we do is waited for so long. */
const WAIT_SECONDS_MAX = 30;
const LOOK_MS = 250;
const PASSWORD_BYTES = 24;

/** Where the database is: the embedded one is started in `dataDir`. */
export async function startDatabase({ settings, log, closing }: CommandContext, dataDir: DataDir | undefined) {
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
  closing.add('database', postgres.close);
  done(`embedded PostgreSQL ${postgres.version} in ${dataDir.path}`);
  return postgres.url;
}

/** A pool on the database, which answers when this resolves. */
export async function openDatabase(context: CommandContext, url: string, connectionsMax: number): Promise<Connection> {
  const { log, closing, settings } = context;
  const done = progress(log, 'database');
  const connection = connect(url, {
    max: connectionsMax,
    application: 'chronoverse',
    tls: settings.databaseTls,
  });
  closing.add('database connections', connection.close);
  for (let waited = 0; ; waited += LOOK_MS) {
    const why = await connectionProblem(connection.db);
    if (why === undefined) break;
    const sentence = `The database at ${place(url)} cannot be used: ${why.message}. Check DATABASE_URL.`;
    if (!why.passes || waited >= WAIT_SECONDS_MAX * 1000) throw new Error(sentence);
    if (waited === 0) log.warn(`database: ${place(url)} does not answer yet (${why.message})`);
    await sleep(LOOK_MS);
  }
  if (settings.databaseUrl !== undefined) done(`PostgreSQL at ${place(url)}`);
  return connection;
}

/** Without user and password. */
function place(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || 5432}${pathname}`;
}
