import { createReadStream } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createGunzip } from 'node:zlib';
import { loadDatabase, NoRestore } from '../db/backup/load.ts';
import { BadBackup } from '../db/backup/reader.ts';
import type { CommandContext } from './context.ts';
import { openDatabase, startDatabase } from './database.ts';
import { openFolder } from './open-parts.ts';
import { StartupError } from './startup-error.ts';

/**
 * `chronoverse restore FILE`: loads a backup into an empty database, the one that DATABASE_URL
 * names or a new one in DATA_DIR, and migrates it to this version.
 */
export async function runRestore(context: CommandContext, name: string): Promise<number> {
  const { settings, log } = context;
  const file = resolve(name);
  const unreadable = () => new StartupError(`${file} cannot be read: name the file of a backup.`);
  await access(file, constants.R_OK).catch(() => {
    throw unreadable();
  });
  if ((await stat(file)).isDirectory()) throw unreadable();
  process.exitCode = 1; // if a signal stops it: what waits for a restored database must not go on
  const dataDir = settings.databaseUrl === undefined ? await openFolder(context) : undefined;
  const url = await startDatabase(context, dataDir);
  await openDatabase(context, url, 1);
  const gunzip = createGunzip();
  const source = createReadStream(file).on('error', (error) => gunzip.destroy(error));
  try {
    const onTable = (table: string) => log.info({ table }, `restore: ${table}`);
    const onUnknownTable = (table: string) =>
      log.warn({ table }, `restore: ${table} is not Chronoverse's, and is left out`);
    const { at, secretKeyIds } = await loadDatabase(url, source.pipe(gunzip), {
      tls: settings.databaseTls,
      onTable,
      onUnknownTable,
    });
    const keys = secretKeyIds.length === 0 ? 'its key' : `the key ${secretKeyIds.join(' and ')}`;
    const place =
      dataDir === undefined
        ? 'give it as SECRET_KEY'
        : `give it as SECRET_KEY, or put its text into ${join(dataDir.path, 'secret.key')}`;
    process.stdout.write(`The backup of ${at} is restored.\nIts secrets need ${keys}: ${place}, before you start.\n`);
    return 0;
  } catch (error) {
    if (error instanceof NoRestore || error instanceof BadBackup) throw new StartupError(error.message);
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code.startsWith('Z_') || code === 'ERR_STREAM_PREMATURE_CLOSE')
      throw new StartupError(`${file} is no backup of Chronoverse, or a damaged one.`);
    throw error;
  }
}
