import { readdir, readFile, readlink } from 'node:fs/promises';

/* Linux only: /proc (proc(5)). */

const TICKS_PER_SECOND = 100;
const LISTENING = '0A';
const ACCEPTS = '00010000'; // __SO_ACCEPTCON

/** The seconds of CPU of a process and its descendants, those that have ended included. */
export async function treeCpuSeconds(root: number): Promise<number> {
  const stats = new Map<number, { parent: number; ticks: number }>();
  for (const pid of await processIds()) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
    if (stat === undefined) continue; // it has just ended
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Its own, and those of the children that it has reaped.
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
    stats.set(pid, { parent: Number(fields[1]), ticks });
  }
  const isOfTree = (pid: number): boolean => pid === root || (pid > 1 && isOfTree(stats.get(pid)?.parent ?? 0));
  const ticks = [...stats].reduce((sum, [pid, stat]) => sum + (isOfTree(pid) ? stat.ticks : 0), 0);
  return ticks / TICKS_PER_SECOND;
}

/**
 * The process on this machine that listens at this address, a socket's path or one with a port.
 * Undefined if none does.
 */
export async function listenerOf(address: string): Promise<number | undefined> {
  const inodes = address.startsWith('unix://')
    ? await pathListeners(address.slice('unix://'.length))
    : await portListeners(Number(/:(\d+)(?:[/?].*)?$/.exec(address)?.[1]));
  for (const pid of await processIds()) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '')) return pid;
    }
  }
  return undefined;
}

async function portListeners(port: number): Promise<Set<string>> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (await readFile(table, 'utf8')).split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === LISTENING && Number.parseInt(local.split(':')[1] ?? '', 16) === port) inodes.add(inode);
    }
  }
  return inodes;
}

async function pathListeners(path: string): Promise<Set<string>> {
  const inodes = new Set<string>();
  for (const line of (await readFile('/proc/net/unix', 'utf8')).split('\n').slice(1)) {
    const [, , , flags, , , inode = '', bound] = line.trim().split(/\s+/);
    if (bound === path && flags === ACCEPTS) inodes.add(inode);
  }
  return inodes;
}

async function processIds(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}
