import { readdir, readFile, readlink } from 'node:fs/promises';

/** Of the process `pid`: its open descriptors that are connections to its port `port`. Linux tells it in /proc. */
export async function connectionsOf(pid: number, port: number): Promise<number> {
  const inodes = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    const lines = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).split('\n').slice(1);
    for (const line of lines) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      const isOfPort = Number.parseInt(local?.split(':')[1] ?? '', 16) === port;
      if (isOfPort && state !== LISTENING && inode !== undefined) inodes.add(`socket:[${inode}]`);
    }
  }
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(descriptors.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
  return targets.filter((target) => inodes.has(target)).length;
}

const LISTENING = '0A';
