/**
 * Redis from Debian's package, with the policy that production requires: nothing is ever evicted.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { requireCommand } from './packages.ts';
import type { Part } from './parts.ts';
import { type State, servicesDir } from './state.ts';

const dir = join(servicesDir, 'redis');
const PROBE_MS = 2_000;

export const redis: Part = {
  name: 'redis',
  title: 'Redis',
  needs: [{ command: 'redis-server', debianPackage: 'redis-server' }],

  async prepare(state) {
    await mkdir(dir, { recursive: true });
    const config = join(dir, 'redis.conf');
    await writeFile(config, configuration(state), { mode: 0o600 });
    return { command: await requireCommand('redis-server'), args: [config] };
  },

  async probe(state) {
    const reply = await ask(state, `AUTH ${state.passwords.redis}\r\nPING\r\n`);
    if (!reply.includes('+PONG')) throw new Error(`Redis answers ${JSON.stringify(reply)}.`);
  },

  setting(state) {
    return ['REDIS_URL', `redis://:${state.passwords.redis}@127.0.0.1:${state.ports.redis}`];
  },
};

/**
 * The password is in this file and not on the command line, where every user of the machine could
 * read it. `set-proc-title no` keeps the command line as it was at the start, because it identifies
 * the process.
 */
function configuration(state: State): string {
  return `bind 127.0.0.1
port ${state.ports.redis}
requirepass ${state.passwords.redis}
dir "${dir}"
maxmemory-policy noeviction
save ""
appendonly yes
daemonize no
set-proc-title no
`;
}

function ask(state: State, commands: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let reply = '';
    const socket = connect({ host: '127.0.0.1', port: state.ports.redis });
    socket.setTimeout(PROBE_MS, () => socket.destroy(new Error('Redis does not answer.')));
    socket.once('error', reject);
    socket.on('data', (data) => {
      reply += data.toString('latin1');
      if (reply.split('\r\n').length > 2) socket.end();
    });
    socket.once('close', () => resolve(reply));
    socket.write(commands);
  });
}
