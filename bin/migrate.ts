import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { migrateNow, openFolder } from './open-parts.ts';

/**
 * `chronoverse migrate`: brings the database, the embedded one too, to this program's version, and
 * ends.
 */
export async function runMigrate(context: CommandContext): Promise<number> {
  const dataDir = context.settings.databaseUrl === undefined ? await openFolder(context) : undefined;
  const url = await startDatabase(context, dataDir);
  await openDatabase(context, url, 1);
  // Of a signal that stops it on the way: what waits for a migrated database must not go on.
  process.exitCode = 1;
  await migrateNow(context, url);
  return 0;
}
