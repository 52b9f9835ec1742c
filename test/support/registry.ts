import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isOfEngine } from './hostile-registry.ts';
import { reportMissing } from './parts.ts';
import { freePort } from './ports.ts';
import { until } from './time.ts';

const PROGRAM = '/usr/bin/docker-registry';

/** A real registry on loopback. Engines trust it without TLS. */
export interface Registry {
  port: number;
  close(): Promise<void>;
}

/** Whether Debian's package `docker-registry` is present. If not, reports what is left untested. */
export async function hasRegistry(untested: string): Promise<boolean> {
  const found = await access(PROGRAM).then(
    () => true,
    () => false,
  );
  if (!found) reportMissing(`docker-registry (${PROGRAM})`, untested);
  return found;
}

export async function startRegistry(): Promise<Registry> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-registry-'));
  const port = await freePort();
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: `127.0.0.1:${port}` },
  };
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config)); // JSON is YAML
  const child = spawn(PROGRAM, ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await until('the registry listens', () => listens(port));
  return {
    port,
    async close() {
      child.kill();
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A proxy to a test's own registry that can refuse requests or stop in the middle of a layer. */
export interface RegistryProxy {
  port: number;
  /** Answers the next `times` requests for a manifest with 429. */
  busy(times: number): void;
  /** Replaces all answers, until it is undefined again. HANG gives none. */
  instead: { status: number; headers?: Record<string, string> } | 'HANG' | undefined;
  /**
   * Sends the next layer a few bytes at a time, for minutes. Resolves when the engine waits for it.
   */
  hold(): Promise<Held>;
  close(): Promise<void>;
}

export interface Held {
  /** Resolves when the engine has closed the connection that waits. */
  dropped: Promise<unknown>;
}

export async function registryProxy(port: number): Promise<RegistryProxy> {
  let busyTimes = 0;
  let onHeld: ((held: Held) => void) | undefined;

  function handle(incoming: IncomingMessage, answer: ServerResponse): void {
    const { instead } = proxy;
    if (instead !== undefined) {
      if (instead !== 'HANG') answer.writeHead(instead.status, instead.headers).end();
      return;
    }
    if (busyTimes > 0 && incoming.url?.includes('/manifests/')) {
      // The engine asks with HEAD first and ignores a refusal of it, so only GET counts.
      if (incoming.method === 'GET') busyTimes -= 1;
      answer.writeHead(429, { 'content-type': 'application/json' });
      answer.end(
        JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your rate limit.' }] }),
      );
      return;
    }
    const { method, url: path, headers } = incoming;
    const onward = request({ port, host: '127.0.0.1', method, path, headers }, (given) => {
      answer.writeHead(given.statusCode ?? 500, given.headers);
      const isEngines = isOfEngine(headers); // workers only check where the link leads
      if (isEngines && onHeld !== undefined && Number(given.headers['content-length']) > HELD_BYTES_MIN) {
        const trickle = setInterval(() => answer.write(Buffer.alloc(TRICKLE_BYTES)), TRICKLE_MS);
        onHeld({ dropped: once(answer, 'close').finally(() => clearInterval(trickle)) });
        given.resume();
      } else given.pipe(answer);
    });
    incoming.pipe(onward);
    onward.on('error', () => answer.destroy());
  }

  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const proxy: RegistryProxy = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    instead: undefined,
    busy(times) {
      busyTimes = times;
    },
    hold: () =>
      new Promise((resolve) => {
        onHeld = (held) => {
          onHeld = undefined;
          resolve(held);
        };
      }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}

/** More than a manifest or a configuration, so this matches only layers. */
const HELD_BYTES_MIN = 1_000_000;
/**
 * Some bytes must flow: the engine notices that a reader is gone only when it has data to pass on.
 */
const TRICKLE_BYTES = 512;
const TRICKLE_MS = 20;

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // not yet
  } finally {
    socket.destroy();
  }
}
