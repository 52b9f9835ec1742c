import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { processIdentity } from './process-identity.ts';

/**
 * The folder for what this installation keeps on this machine. One process at a time may hold it.
 */
export interface DataDir {
  path: string;
  /**
   * The text of the file `name`. If it does not exist, `make` gives its text. The file has mode
   * 0600, and is on the disk before its text is used. Blanks around the text do not count: a person
   * may have written it.
   */
  keep(name: string, make: () => string): Promise<string>;
  release(): Promise<void>;
}

/** The folder cannot be used. The message says what to do. */
export class DataDirUnusable extends Error {}
/** Another process holds the folder. */
export class DataDirTaken extends DataDirUnusable {}

const LOCK = 'lock';
/**
 * A round takes the lock, finds a holder that lives, or removes a stale lock. More rounds mean that
 * other processes race for it.
 */
const ROUNDS_MAX = 10;

/**
 * Takes the folder for this process, also from a process that was killed. Rejects with DataDirTaken
 * while another process holds it, and with DataDirUnusable if it cannot be a folder.
 */
export async function openDataDir(folder: string): Promise<DataDir> {
  const path = resolve(folder);
  const lock = join(path, LOCK);
  const own = JSON.stringify({ pid: process.pid, identity: await processIdentity(process.pid) });
  await explained(path, 'made', () => makeFolder(path));
  await explained(path, 'used', async () => {
    if (!(await stat(path)).isDirectory())
      throw new DataDirUnusable(
        `DATA_DIR is ${path}, which is a file: name a folder, or a path where one can be made.`,
      );
    await takeLock(lock, own, path);
  });
  return {
    path,
    keep: (name, make) => explained(path, 'used', () => keepFile(join(path, name), make)),
    async release() {
      if ((await readIfThere(lock)) === own) await rm(lock, { force: true });
    },
  };
}

/** Turns an error of the file system into a sentence. */
async function explained<T>(path: string, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new DataDirUnusable(
      `DATA_DIR is ${path}, which cannot be ${what} (${error.message}): name a folder that this user may write to.`,
    );
  }
}

/**
 * Makes the folder, and its missing parents. Node's own recursive mkdir never ends if the parent
 * exists and still cannot contain the folder, as in /proc.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o755 }); // under root, the embedded server's user passes through it
  } catch (error) {
    if (isCode(error, 'EEXIST')) return;
    const parent = dirname(path);
    if (!isCode(error, 'ENOENT') || (await isThere(parent))) throw error;
    await makeFolder(parent);
    await mkdir(path, { mode: 0o755 });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false, // or out of reach; then making it fails with the reason
  );
}

async function takeLock(lock: string, own: string, folder: string): Promise<void> {
  const draft = `${lock}.${process.pid}`;
  try {
    await writeDurably(draft, own);
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (await linkUnlessThere(draft, lock)) return;
      const found = await readIfThere(lock);
      if (found === undefined || found === own) continue;
      const holder = parseHolder(found);
      if (holder !== undefined && (await processIdentity(holder.pid)) === holder.identity) {
        throw new DataDirTaken(
          `${folder} is in use by the process ${holder.pid}: stop that one, or give this one a folder of its own, for example DATA_DIR=.chronoverse-2`,
        );
      }
      await removeStale(lock, found);
    }
    throw new DataDirTaken(`${folder} is being taken by another process: start again when that one has stopped.`);
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Moves the lock away before it removes it. If two processes take over at once, one may hold the
 * lock that the other has just written.
 */
async function removeStale(lock: string, stale: string): Promise<void> {
  const moved = `${lock}.stale.${process.pid}`;
  try {
    await rename(lock, moved);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  if ((await readIfThere(moved)) !== stale) await linkUnlessThere(moved, lock);
  await rm(moved, { force: true });
}

async function keepFile(path: string, make: () => string): Promise<string> {
  const kept = (await readIfThere(path))?.trim();
  if (kept !== undefined && kept !== '') return kept;
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  const text = make();
  await writeDurably(draft, text);
  await rename(draft, path);
  return text;
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function linkUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function parseHolder(text: string): { pid: number; identity: string } | undefined {
  try {
    const { pid, identity } = JSON.parse(text);
    return typeof pid === 'number' && typeof identity === 'string' ? { pid, identity } : undefined;
  } catch {
    return undefined; // cut short by a crash of the machine: no process holds it
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
