import { createWriteStream } from 'node:fs';
import { link, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { dumpDatabase, NoBackup } from '../db/backup/dump.ts';
import type { CommandContext } from './context.ts';
import { openDatabase } from './database.ts';
import { StartupError } from './startup-error.ts';
import { isThere, presentDatabase } from './users-database.ts';

/** Most of a backup are log lines, which are compressed already. */
const GZIP_LEVEL = 1;
const FILE_MODE = 0o600;

/**
 * `chronoverse backup FILE`: writes the database into a new file, also while a server runs. The
 * file has its name only when it is whole and on the disk.
 */
export async function runBackup(context: CommandContext, name: string): Promise<number> {
  const { shutdown } = context;
  const file = resolve(name);
  if (await isThere(file)) throw new StartupError(`${file} exists already: name a new file.`);
  const url = await presentDatabase(context);
  await openDatabase(context, url, 1); // says why, if it cannot be reached
  process.exitCode = 1; // if a signal stops it: a script must not remove the backup before
  const work = write(context, url, file);
  // A signal waits until the draft is removed.
  shutdown.add('clients', 'backup', () => work.catch(() => undefined));
  await work;
  const { size } = await stat(file);
  process.stdout.write(`The backup is in ${file} (${size.toLocaleString('en-US')} bytes).\n${keySentence(context)}\n`);
  return 0;
}

async function write({ settings, log, shutdown }: CommandContext, url: string, file: string): Promise<void> {
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}`);
  try {
    const onTable = (table: string) => log.info({ table }, `backup: ${table}`);
    const pieces = Readable.from(dumpDatabase(url, { tls: settings.databaseTls, onTable }), { objectMode: false });
    const compressed = createGzip({ level: GZIP_LEVEL });
    const target = createWriteStream(draft, { mode: FILE_MODE, flags: 'wx' });
    await pipeline(pieces, compressed, target, { signal: shutdown.signal });
    await flush(draft);
    await place(draft, file);
    await flush(dirname(file));
  } catch (error) {
    throw error instanceof NoBackup ? new StartupError(error.message) : fileProblem(error, file);
  } finally {
    // Where it could not be made, it cannot be removed either.
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

/** The key is not in the backup, so that the file alone reveals no secret. */
function keySentence({ settings }: CommandContext): string {
  const key = settings.secretKey === undefined ? join(resolve(settings.dataDir), 'secret.key') : 'SECRET_KEY';
  return `The key of the secrets is not in it. Keep a copy of ${key} in another place.`;
}

const FILE_PROBLEMS: Record<string, string> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder is a file',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'its disk is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'it exists already',
  ENAMETOOLONG: 'its name is too long',
  EIO: 'its disk is damaged',
  EFBIG: 'files there may not become so large',
};

function fileProblem(error: unknown, file: string): unknown {
  // Those of the database have the system call connect, if any.
  const isOfFile = error instanceof Error && 'syscall' in error && error.syscall !== 'connect';
  const why = isOfFile && 'code' in error ? FILE_PROBLEMS[String(error.code)] : undefined;
  return why === undefined ? error : new StartupError(`${file} cannot be written: ${why}.`);
}

/** Gives the draft its name. Unlike a rename alone, this replaces no file that is there. */
async function place(draft: string, file: string): Promise<void> {
  try {
    await link(draft, file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    // FAT and some network shares have no links.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw error;
    await (await open(file, 'wx', FILE_MODE)).close();
    await rename(draft, file);
  }
}

async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
