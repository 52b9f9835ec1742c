import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, processIdentity } from '../process-identity.ts';

/**
 * A server that shuts down writes a checkpoint, which takes seconds on a slow disk. After an
 * immediate stop, it recovers at its next start.
 */
const STOP_TRIES = [
  { signal: 'SIGINT', waitMs: 20_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
] as const;
const LOOK_MS = 20;

/**
 * Stops the server that still runs on `folder` after its process has gone. The caller holds the
 * lock of the data folder, so no other process owns that server. Returns the number of the stopped
 * process.
 */
export async function stopOrphan(folder: string): Promise<number | undefined> {
  const file = join(folder, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  if (Number.isNaN(pid)) return undefined;
  if (!(await isServerOf(folder, pid))) {
    // Another program may have its number by now. The server would then refuse to start.
    await rm(file, { force: true });
    return undefined;
  }
  for (const { signal, waitMs } of STOP_TRIES) {
    process.kill(pid, signal);
    if (await hasEnded(pid, waitMs)) return pid;
  }
  throw new Error(`The PostgreSQL process ${pid} on ${folder} does not stop: end it by hand, then start again.`);
}

/** A server's working directory is its data folder. */
async function isServerOf(folder: string, pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false;
  // macOS does not show the directory. A reused number is rarer than a server left behind.
  if (process.platform !== 'linux') return true;
  // Undefined if the process has ended, or belongs to another user.
  const directory = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  return directory === (await realpath(folder));
}

async function hasEnded(pid: number, waitMs: number): Promise<boolean> {
  for (let waited = 0; waited < waitMs; waited += LOOK_MS) {
    if ((await processIdentity(pid)) === undefined) return true;
    await sleep(LOOK_MS);
  }
  return false;
}
