import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { defaultDeadline } from '../async/deadline.ts';
import { findBinaries } from './binaries.ts';
import { initialize } from './initialize.ts';
import { createLauncher } from './launcher.ts';
import { stopOrphan } from './orphan.ts';
import { type Server, startServer } from './server.ts';

export interface EmbeddedPostgres {
  url: string;
  version: string;
  close(deadline?: AbortSignal): Promise<void>;
}

export const USER = 'chronoverse';
/** A port that was free a moment ago may be taken when the server asks for it. */
const PORT_TRIES_MAX = 3;
/**
 * How often in a row to restart a server that ends by itself, for example because it was killed for
 * memory. Each restart waits longer.
 */
const RESTARTS_MAX = 5;
const RESTART_DELAY_MS = 500;
/**
 * How often one restart is tried. The sessions of a killed server hold its shared memory until they
 * notice, which takes seconds on a busy machine.
 */
const RESTART_TRIES_MAX = 20;
/** A server that has run this long counts as started well. */
const STEADY_MS = 60_000;

/**
 * A real PostgreSQL with its data in `folder`, on a free port of loopback. Every program that knows
 * `password` can connect. The caller holds the lock of the data folder. `onLost` is called when the
 * server has ended and cannot be started again.
 */
export async function startEmbeddedPostgres(options: {
  folder: string;
  password: string;
  log: Logger;
  onLost: (error: Error) => void;
}): Promise<EmbeddedPostgres> {
  const { password, log, onLost } = options;
  const folder = resolve(options.folder);
  const binaries = await findBinaries();
  const launcher = await createLauncher({ folder, program: binaries.postgres });
  await initialize({ folder, initdb: binaries.initdb, user: USER, password, launcher });
  const orphan = await stopOrphan(folder);
  if (orphan !== undefined) log.info(`database: stopped the PostgreSQL that a killed process left (${orphan})`);

  const start = (port: number) => startServer({ folder, program: binaries.postgres, port, launcher, log });
  let port = await freePort();
  let closing = false;
  let server = await withTries(PORT_TRIES_MAX, async (attempt) => {
    if (attempt > 1) port = await freePort();
    return start(port);
  });
  void watch();

  return {
    url: `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`,
    version: (await readFile(join(folder, 'PG_VERSION'), 'utf8')).trim(),
    async close(deadline = defaultDeadline()) {
      closing = true;
      await server.stop(deadline);
    },
  };

  /**
   * Starts the server again on its port when it ends by itself. Clients connect again by
   * themselves.
   */
  async function watch(): Promise<void> {
    for (let restarts = 0; ; restarts++) {
      const started = Date.now();
      const said = await server.ended;
      if (closing) return;
      if (Date.now() - started > STEADY_MS) restarts = 0;
      if (restarts === RESTARTS_MAX)
        return onLost(new Error(`The embedded PostgreSQL keeps ending. It said:\n${said}`));
      log.error(`database: the embedded PostgreSQL has ended and is started again. It said:\n${said}`);
      const next = await startAgain(restarts);
      if (next === undefined) return;
      server = next;
      if (closing) await server.stop(defaultDeadline());
    }
  }

  async function startAgain(restarts: number): Promise<Server | undefined> {
    try {
      return await withTries(RESTART_TRIES_MAX, async () => {
        await sleep(RESTART_DELAY_MS * (restarts + 1));
        return start(port);
      });
    } catch (error) {
      if (!closing) onLost(error instanceof Error ? error : new Error(String(error)));
      return undefined;
    }
  }
}

async function withTries<T>(tries: number, run: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (error) {
      if (attempt === tries) throw error;
    }
  }
}

async function freePort(): Promise<number> {
  // A client may connect at this moment.
  const probe = createServer((socket) => socket.on('error', () => undefined).destroy());
  probe.listen(0, '127.0.0.1');
  await new Promise((resolve, reject) => probe.once('listening', resolve).once('error', reject));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No free port was found on 127.0.0.1.');
  return address.port;
}
