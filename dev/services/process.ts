/**
 * Processes that outlive the command that started them and are never mistaken for another process.
 */
import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** A process to start. */
export interface Launch {
  command: string;
  args: string[];
  env?: Record<string, string>;
  uid?: number;
  gid?: number;
}

export const run = promisify(execFile);

/** A pid may belong to another process by now. Its start time and command line identify it. */
export interface ProcessIdentity {
  pid: number;
  startedAt: string;
  command: string;
}

const STOP_MS = 20_000;
const TAIL_LINES = 15;

export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  return process.platform === 'linux' ? identifyFromProc(pid) : identifyFromPs(pid);
}

async function identifyFromProc(pid: number): Promise<ProcessIdentity | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The process name before the last parenthesis may contain spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
    return { pid, startedAt: `${boot}/${fields[19]}`, command };
  } catch {
    return undefined;
  }
}

async function identifyFromPs(pid: number): Promise<ProcessIdentity | undefined> {
  try {
    const { stdout } = await run('ps', ['-o', 'lstart=,command=', '-p', String(pid)]);
    return { pid, startedAt: stdout.slice(0, 24), command: stdout.slice(24).trim() };
  } catch {
    return undefined;
  }
}

export async function isSame(known: ProcessIdentity | undefined): Promise<boolean> {
  if (!known) return false;
  const now = await identify(known.pid);
  return now !== undefined && now.startedAt === known.startedAt && now.command === known.command;
}

/**
 * Finds a running server of ours that the state does not contain, because the command that started
 * it was killed before it wrote the state.
 */
export async function findRunning(launch: Launch): Promise<ProcessIdentity | undefined> {
  if (process.platform !== 'linux') return undefined;
  // The command line contains folders of this checkout, so it cannot be another checkout's server.
  const wanted = [launch.command, ...launch.args].join(' ');
  for (const entry of await readdir('/proc')) {
    const found = /^\d+$/.test(entry) ? await identify(Number(entry)) : undefined;
    if (found?.command === wanted) return found;
  }
  return undefined;
}

/** Starts a server in its own session and appends its output to `logFile`. */
export async function startDetached(launch: Launch, logFile: string): Promise<ProcessIdentity> {
  const log = openSync(logFile, 'a', 0o600);
  try {
    const child = spawn(launch.command, launch.args, {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: { ...process.env, ...launch.env },
      ...(launch.uid === undefined ? {} : { uid: launch.uid, gid: launch.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(new Error(`${launch.command} cannot be started: ${error.message}`)));
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : await identify(child.pid);
    if (!identity) throw new Error(`${launch.command} ended as soon as it was started.`);
    return identity;
  } finally {
    closeSync(log);
  }
}

/**
 * Sends `signal`, and SIGKILL after STOP_MS. Returns false if the process is already gone or its
 * pid belongs to another process.
 */
export async function stopProcess(known: ProcessIdentity, signal: NodeJS.Signals = 'SIGTERM'): Promise<boolean> {
  if (!(await isSame(known))) return false;
  process.kill(known.pid, signal);
  const deadline = Date.now() + STOP_MS;
  while (await isSame(known)) {
    if (Date.now() > deadline) process.kill(known.pid, 'SIGKILL');
    await sleep(50);
  }
  return true;
}

/** The last lines of a log, which show why a part did not start. */
export async function tail(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}
