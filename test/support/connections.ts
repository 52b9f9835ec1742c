import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * The number of open descriptors of the process `pid` that are connections to its own port `port`.
 * Reads /proc, so Linux only.
 */
export async function connectionsOf(pid: number, port: number): Promise<number> {
  const own = await socketsOf(pid, ({ localPort, state }) => localPort === port && state !== LISTENING);
  return (await descriptorsOf(pid)).filter((target) => own.has(target)).length;
}

/**
 * The number of open descriptors of the process `pid`, without its connections to port `port` of
 * another process, such as its database.
 */
export async function descriptorsBut(pid: number, port: number): Promise<number> {
  const others = await socketsOf(pid, ({ remotePort }) => remotePort === port);
  return (await descriptorsOf(pid)).filter((target) => !others.has(target)).length;
}

const LISTENING = '0A';

interface Entry {
  localPort: number;
  remotePort: number;
  state: string | undefined;
}

/** The sockets in the form of the links in /proc/PID/fd. */
async function socketsOf(pid: number, matches: (entry: Entry) => boolean): Promise<Set<string>> {
  const found = new Set<string>();
  for (const table of ['tcp', 'tcp6']) {
    const lines = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).split('\n').slice(1);
    for (const line of lines) {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
      if (inode !== undefined && matches({ localPort: portOf(local), remotePort: portOf(remote), state }))
        found.add(`socket:[${inode}]`);
    }
  }
  return found;
}

function portOf(address: string | undefined): number {
  return Number.parseInt(address?.split(':')[1] ?? '', 16);
}

async function descriptorsOf(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  return Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
}
