import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { migrateNow, openFolder } from './open-parts.ts';

/**
 * `chronoverse migrate`: migrates the database, also an embedded one, to this program's version,
 * then ends.
 */
export async function runMigrate(context: CommandContext): Promise<number> {
  const dataDir = context.settings.databaseUrl === undefined ? await openFolder(context) : undefined;
  const url = await startDatabase(context, dataDir);
  await openDatabase(context, url, 1);
  // The exit code if a signal stops it on the way: whatever waits for a migrated database must not
  // go on.
  process.exitCode = 1;
  await migrateNow(context, url);
  return 0;
}
