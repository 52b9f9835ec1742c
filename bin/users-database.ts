import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Db } from '../db/client.ts';
import { DataDirTaken } from '../platform/data-dir.ts';
import { runningPostgres } from '../platform/postgres/running.ts';
import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { migrateNow, openFolder, requireVersion } from './open-parts.ts';
import { StartupError } from './startup-error.ts';

/**
 * Opens only the database of the accounts, which is one of these:
 *   the database that DATABASE_URL names
 *   the embedded one, which is started and migrated to this version
 *   the embedded one of a server that runs on the data folder, which goes on
 * A missing database is made only with `mayBegin`. In the wrong folder, every other command would
 * otherwise work on an empty database.
 */
export async function openUsersDatabase(context: CommandContext, { mayBegin }: { mayBegin: boolean }): Promise<Db> {
  const url = context.settings.databaseUrl ?? (await embedded(context, { mayBegin, migrates: true }));
  const { db } = await openDatabase(context, url, 1);
  await requireVersion(db);
  return db;
}

/**
 * The URL of the database that there is, at whatever version: a real one, the embedded one of a
 * running server, or the embedded one, which is started.
 */
export async function presentDatabase(context: CommandContext): Promise<string> {
  return context.settings.databaseUrl ?? (await embedded(context, { mayBegin: false, migrates: false }));
}

async function embedded(
  context: CommandContext,
  { mayBegin, migrates }: { mayBegin: boolean; migrates: boolean },
): Promise<string> {
  const dataDir = resolve(context.settings.dataDir);
  const folder = join(dataDir, 'postgres');
  try {
    if (!(await isThere(join(folder, 'PG_VERSION')))) sayThatThereIsNone(dataDir, mayBegin);
    const url = await startDatabase(context, await openFolder(context));
    if (migrates) await migrateNow(context, url);
    return url;
  } catch (error) {
    if (!(error instanceof DataDirTaken)) throw error;
    const url = await runningPostgres(folder, join(dataDir, 'postgres.password'));
    if (url !== undefined) return url;
    throw new StartupError(
      `The data folder ${dataDir} is in use, and its database cannot be reached: try again when the server has started, stop that, or name the database with DATABASE_URL.`,
    );
  }
}

function sayThatThereIsNone(dataDir: string, mayBegin: boolean): void {
  const none = `There is no database in ${dataDir}`;
  if (mayBegin) process.stderr.write(`${none} yet: a new one is made.\n`);
  else
    throw new StartupError(`${none}: name the server's data folder with DATA_DIR, or its database with DATABASE_URL.`);
}

export async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false, // or another user's; then starting it fails with the reason
  );
}
