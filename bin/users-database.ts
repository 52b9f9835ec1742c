import { join } from 'node:path';
import type { Db } from '../db/client.ts';
import { checkVersion } from '../db/migrate.ts';
import { DataDirTaken } from '../platform/data-dir.ts';
import { runningPostgres } from '../platform/postgres/running.ts';
import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { migrateNow, openFolder } from './parts.ts';
import { Refusal } from './refusal.ts';

/**
 * The database of the accounts, without anything else: DATABASE_URL's; the embedded one, which is started and brought to its version; or the
 * embedded one of a server that runs on the data folder, which goes on.
 */
export async function openUsersDatabase(context: CommandContext): Promise<Db> {
  const { db } = await openDatabase(context, await place(context), 1);
  const refusal = await checkVersion(db);
  if (refusal !== undefined) throw new Refusal(refusal);
  return db;
}

async function place(context: CommandContext): Promise<string> {
  const { databaseUrl, dataDir } = context.settings;
  if (databaseUrl !== undefined) return databaseUrl;
  try {
    const url = await startDatabase(context, await openFolder(context));
    await migrateNow(context, url);
    return url;
  } catch (error) {
    if (!(error instanceof DataDirTaken)) throw error;
    const url = await runningPostgres(join(dataDir, 'postgres'), join(dataDir, 'postgres.password'));
    if (url !== undefined) return url;
    throw new Refusal(
      `${error.message.split(':')[0]}, whose database cannot be reached: try again when it has started, stop it, or name the database with DATABASE_URL.`,
    );
  }
}
