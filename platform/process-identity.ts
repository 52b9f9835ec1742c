import { execFile } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { promisify } from 'node:util';

/**
 * Identifies a process by its start and by the boot of the machine. No process that has the same
 * number before or later has the same identity. Undefined if no process has this number.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (!isAlive(pid)) return undefined;
  if (process.platform !== 'linux') return startedAccordingToPs(pid);
  const [stat, boot] = await Promise.all([readOrNothing(`/proc/${pid}/stat`), bootId()]);
  // The name in parentheses may contain spaces and parentheses. The 20th field after it is the
  // start in clock ticks.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie holds nothing any more.
  if (fields === undefined || fields[0] === 'Z') return undefined;
  return `${boot}/${fields[19]}`;
}

/**
 * A name of this process for other processes, on any machine. It says where this process runs.
 * Processes that can see this one can also find out whether it still runs. A process number is only
 * valid within its PID namespace, and each container has one of its own.
 */
export async function processName(): Promise<string> {
  const identity = await processIdentity(process.pid);
  return [await machine(), await namespace(), process.pid, identity].join(SEPARATOR);
}

/**
 * Whether the process of this name has certainly ended. A stopped process has not ended. About a
 * process of another machine or container, nothing is known.
 */
export async function hasEnded(name: string): Promise<boolean> {
  const [where, space, pid, ...rest] = name.split(SEPARATOR);
  const identity = rest.join(SEPARATOR); // with spaces, as ps prints it
  if (where !== (await machine()) || space !== (await namespace()) || identity === '') return false;
  if (!isAlive(Number(pid))) return true;
  const found = await processIdentity(Number(pid));
  return found !== undefined ? found !== identity : !isAlive(Number(pid));
}

const SEPARATOR = ' ';

/**
 * Two machines may share a host name, and the number of the first PID namespace. The id of a boot
 * belongs to one machine.
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
    return undefined; // ps fails for a process that has ended
  }
}

async function readOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined; // it ended while we looked
  }
}
