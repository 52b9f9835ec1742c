import { execFile } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { promisify } from 'node:util';

/**
 * Tells a process from any other that had its number before or has it later: when it was started,
 * and in which boot of the machine. Undefined when there is none with this number.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (!isAlive(pid)) return undefined;
  if (process.platform !== 'linux') return startedAccordingToPs(pid);
  const [stat, boot] = await Promise.all([readOrNothing(`/proc/${pid}/stat`), bootId()]);
  // The name in parentheses may hold spaces and parentheses; the 20th field after it is the start
  // in clock ticks.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie holds nothing any more.
  if (fields === undefined || fields[0] === 'Z') return undefined;
  return `${boot}/${fields[19]}`;
}

/**
 * A name of this process that tells others, on any machine, where it runs, and those that can see
 * it whether it still does. Numbers of processes mean something within a PID namespace alone, and
 * each container has one of its own.
 */
export async function processName(): Promise<string> {
  const identity = await processIdentity(process.pid);
  return [await machine(), await namespace(), process.pid, identity].join(SEPARATOR);
}

/**
 * Whether the process of this name has certainly ended. A stopped process has not. Nothing is known
 * of a process of another machine or container.
 */
export async function hasEnded(name: string): Promise<boolean> {
  const [where, space, pid, ...rest] = name.split(SEPARATOR);
  const identity = rest.join(SEPARATOR); // spaces and all, as ps gives it
  if (where !== (await machine()) || space !== (await namespace()) || identity === '') return false;
  if (!isAlive(Number(pid))) return true;
  const found = await processIdentity(Number(pid));
  return found !== undefined ? found !== identity : !isAlive(Number(pid));
}

const SEPARATOR = ' ';

/**
 * The name of the host may be another one's too, and so may the number of the first PID namespace;
 * that of a boot is one machine's.
 */
async function machine(): Promise<string> {
  return [hostname(), await bootId()].join('/');
}

async function bootId(): Promise<string | undefined> {
  return (await readOrNothing('/proc/sys/kernel/random/boot_id'))?.trim();
}

async function namespace(): Promise<string> {
  return readlink('/proc/self/ns/pid').catch(() => '-');
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function startedAccordingToPs(pid: number): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]);
    return stdout.trim();
  } catch {
    return undefined; // ps says so of a process that has ended
  }
}

async function readOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined; // ended while we looked
  }
}
