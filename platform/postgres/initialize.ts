import { execFile } from 'node:child_process';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DataDirUnusable } from '../data-dir.ts';
import type { Launcher } from './launcher.ts';

/**
 * Makes an empty cluster in `folder` unless there is one. If the process is killed on the way, what
 * it leaves is not taken for a cluster.
 */
export async function initialize(options: {
  folder: string;
  initdb: string;
  user: string;
  password: string;
  launcher: Launcher;
}): Promise<void> {
  const { folder, initdb, user, password, launcher } = options;
  if (await exists(join(folder, 'PG_VERSION'))) return;
  const draft = `${folder}.new`;
  const passwordFile = `${folder}.initdb`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await launcher.own(draft);
  try {
    await writeFile(passwordFile, password, { mode: 0o600 });
    await launcher.own(passwordFile);
    const { file, args, options } = launcher.command(initdb, [
      `--pgdata=${draft}`,
      `--username=${user}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C', // code parses the messages, and people search for them
      // This locale sorts and folds alike on every machine, and stays the same through upgrades.
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
    ]);
    await promisify(execFile)(file, args, { uid: options.uid, gid: options.gid });
  } catch (error) {
    throw new Error(`The embedded PostgreSQL could not be initialized: ${messageOf(error)}`, { cause: error });
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, folder).catch((error: Error) => {
    throw new DataDirUnusable(
      `${folder} is no data folder of PostgreSQL (${error.message}): move it away, or name another folder with DATA_DIR.`,
    );
  });
}

function messageOf(error: unknown): string {
  const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return output || String(error);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false; // that is the answer
  }
}
