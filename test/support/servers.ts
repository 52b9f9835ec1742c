import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import Docker from 'dockerode';
import { pino } from 'pino';
import { migrate } from '../../db/migrate/migrate.ts';
import { ensureBaseImage } from '../../dev/services/base-image.ts';
import { engineAddress, prepareEngine } from '../../dev/services/docker.ts';
import { address, type Broker, prepareBroker, probeBroker } from '../../dev/services/kafka.ts';
import { findCommand } from '../../dev/services/packages.ts';
import type { Launch } from '../../dev/services/process.ts';
import { run } from '../../dev/services/process.ts';
import { startEmbeddedPostgres } from '../../platform/postgres/embedded.ts';
import { isAlive } from '../../platform/process-identity.ts';
import { reportMissing } from './parts.ts';
import { steadyPort } from './ports.ts';
import { untilSlow } from './time.ts';

/**
 * A server for one test, which the test can kill and start again with the same data at the same
 * address.
 */
export interface OwnServer {
  /** The address in the form of the setting. */
  address: string;
  /** Resolves when it answers. */
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Stops it with SIGTERM, as an operator does. Resolves when it has ended. */
  stop(): Promise<void>;
  /** Kills it and removes its data. */
  close(): Promise<void>;
}

/** Whether the command of a server is on this machine. If not, reports what is left untested. */
export async function hasCommand(command: string, untested: string): Promise<boolean> {
  const found = (await findCommand(command)) !== undefined;
  if (!found) reportMissing(command, untested);
  return found;
}

/** A Kafka broker that is not started yet. */
export async function ownBroker(): Promise<OwnServer> {
  const dir = await mkdtemp(join(tmpdir(), 'chronoverse-broker-'));
  const [port, controllerPort] = [await steadyPort(), await steadyPort()];
  return ownBrokerOf({ dir, port, controllerPort, clusterId: randomBytes(16).toString('base64url') });
}

/** The same with the test's own configuration. It must have a listener without TLS at `port`. */
export async function ownBrokerOf(broker: Broker): Promise<OwnServer> {
  const launch = await prepareBroker(broker);
  return serverOf({ address: address(broker), dir: broker.dir, launch, probe: () => probeBroker(broker) });
}

/** A Redis with its data on disk. It is not started yet. */
export async function ownRedis(): Promise<OwnServer> {
  const dir = await mkdtemp(join(tmpdir(), 'chronoverse-redis-'));
  const port = await steadyPort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'yes'];
  return serverOf({
    address: `redis://127.0.0.1:${port}`,
    dir,
    launch: { command: (await findCommand('redis-server')) ?? 'redis-server', args },
    probe: () => ping(port),
  });
}

/**
 * A running, migrated PostgreSQL. If it is killed, it starts again by itself with its data at the
 * same address.
 */
export async function ownPostgres(): Promise<{ url: string; kill(): Promise<unknown>; close(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'chronoverse-postgres-'));
  const folder = join(dir, 'postgres');
  const server = await startEmbeddedPostgres({
    folder,
    password: 'test',
    log: pino({ level: 'silent' }),
    onLost: (error) => {
      throw error;
    },
  });
  await migrate(server.url);
  let killed: string | undefined;
  return {
    url: server.url,
    // The sessions of a killed server answer until they notice, which takes a moment on a busy
    // machine. So an answer does not tell that the next server runs.
    kill: () =>
      untilSlow('a server runs that is not killed yet', async () => {
        const [pid] = (await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
        if (!pid || pid === killed || !isAlive(Number(pid))) return false;
        process.kill(Number(pid), 'SIGKILL');
        killed = pid;
        return true;
      }),
    async close() {
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A Docker engine with the image `alpine:3`, not started yet. Its containers have no network. */
export async function ownEngine({
  liveRestore,
  options: more = [],
  restarts = false,
}: {
  liveRestore: boolean;
  options?: string[];
  /** Whether it starts again when it dies by itself, as systemd does for it. */
  restarts?: boolean;
}): Promise<OwnServer> {
  const dir = await mkdtemp(join(tmpdir(), 'cv-engine-')); // the path of a socket must be short
  const engine = { dataDir: join(dir, 'data'), runDir: dir, name: `chronoverse-${basename(dir)}` };
  const options = ['--bridge', 'none', ...(liveRestore ? ['--live-restore'] : []), ...more];
  const client = new Docker({ socketPath: join(dir, 'docker.sock'), timeout: 3_000 });
  const launch = await prepareEngine(engine, options);
  const probe = async () => void (await client.ping());
  // The leftovers of a killed engine would keep the next one from starting.
  const prepare = () => prepareEngine(engine, options);
  const server = serverOf({
    address: engineAddress(engine),
    dir,
    launch,
    probe,
    ...(restarts && { beforeRestart: prepare }),
  });
  return {
    ...server,
    async start() {
      await prepare();
      await server.start();
      await ensureBaseImage(client);
    },
    async close() {
      for (const { Id } of await client.listContainers({ all: true }).catch(() => []))
        await client.getContainer(Id).remove({ force: true });
      await server.stop();
      // A killed engine leaves mounts.
      for (const mount of await mountsIn(dir)) await run('umount', ['--lazy', mount]);
      await server.close();
    },
  };
}

/**
 * An engine in its own network namespace that separates networks by iptables, as most engines do.
 * It does not touch the rules of other engines.
 */
export interface FirewalledEngine extends OwnServer {
  /** The name of its network namespace. */
  name: string;
  /** Runs a command in the engine's network namespace. */
  inside(command: string, ...args: string[]): Promise<string>;
  /** The same for a server: it runs until it is killed. */
  serve(command: string, ...args: string[]): ChildProcess;
}

/** Undefined if this machine cannot run one; then it reports what is left untested. */
export async function firewalledEngine(
  untested: string,
  options: string[] = [],
): Promise<FirewalledEngine | undefined> {
  const commands = ['dockerd', 'ip', 'nsenter', 'iptables'];
  for (const command of commands) if (!(await hasCommand(command, untested))) return undefined;
  if (process.getuid?.() !== 0) {
    reportMissing('root, for network namespaces', untested);
    return undefined;
  }
  const dir = await mkdtemp(join(tmpdir(), 'cv-engine-'));
  const name = basename(dir);
  const into = [`--net=/run/netns/${name}`, '--'];
  await run('ip', ['netns', 'add', name]);
  const inside = async (command: string, ...args: string[]) =>
    (await run('nsenter', [...into, command, ...args])).stdout;
  await inside('ip', 'link', 'set', 'lo', 'up');
  const engine = { dataDir: join(dir, 'data'), runDir: dir, name: `chronoverse-${name}` };
  const launch = await prepareEngine(engine, options);
  const client = new Docker({ socketPath: join(dir, 'docker.sock'), timeout: 3_000 });
  const args = launch.args.filter((arg) => arg !== '--iptables=false' && arg !== '--ip-masq=false');
  const server = serverOf({
    address: engineAddress(engine),
    dir,
    launch: { ...launch, command: 'nsenter', args: [...into, launch.command, ...args] },
    probe: async () => void (await client.ping()),
  });
  return {
    ...server,
    name,
    inside,
    serve: (command, ...rest) => spawn('nsenter', [...into, command, ...rest], { stdio: 'ignore' }),
    async start() {
      await server.start();
      await ensureBaseImage(client);
    },
    async close() {
      for (const { Id } of await client.listContainers({ all: true }).catch(() => []))
        await client.getContainer(Id).remove({ force: true });
      await server.stop();
      for (const mount of await mountsIn(dir)) await run('umount', ['--lazy', mount]);
      await run('ip', ['netns', 'delete', name]);
      await server.close();
    },
  };
}

async function mountsIn(dir: string): Promise<string[]> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  return mounts.filter((mount) => mount.startsWith(`${dir}/`)).reverse();
}

/** Runs `launch` as a server and calls `probe` until the server answers. */
export function serverOf({
  address,
  dir,
  launch,
  probe,
  beforeRestart,
}: {
  address: string;
  dir: string;
  launch: Launch;
  probe: () => Promise<void>;
  /** Makes the server start again when it dies by itself. Called before that. */
  beforeRestart?: () => Promise<unknown>;
}): OwnServer {
  let child: ChildProcess | undefined;
  let isEnding = false;

  function launchIt(): void {
    child = spawn(launch.command, launch.args, { env: { ...process.env, ...launch.env }, stdio: 'ignore' });
    if (beforeRestart !== undefined)
      child.once('exit', async () => {
        if (!isEnding) await beforeRestart();
        if (!isEnding) launchIt();
      });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    isEnding = true;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'close');
  }

  const kill = () => end('SIGKILL');

  return {
    address,
    kill,
    stop: () => end('SIGTERM'),
    async start() {
      isEnding = false;
      launchIt();
      await untilSlow(`${launch.command} answers`, () =>
        probe().then(
          () => true,
          () => false,
        ),
      );
    },
    async close() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function ping(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.end('PING\r\n');
    let answer = '';
    for await (const part of socket) answer += part;
    if (!answer.startsWith('+PONG')) throw new Error(`Redis answers ${answer}`);
  } finally {
    socket.destroy();
  }
}
