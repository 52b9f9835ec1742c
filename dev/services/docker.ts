/**
 * A Docker engine from Debian's package with its own data, socket and bridge. It does not affect
 * another engine.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { ensureBaseImage } from './base-image.ts';
import { bringBridgeUp, removeBridge, USER_POOL } from './bridge.ts';
import { stopShims, unmountAll } from './engine-leftovers.ts';
import { requireCommand, searchPath } from './packages.ts';
import type { Part } from './parts.ts';
import type { Launch } from './process.ts';
import { identify, type ProcessIdentity, stopProcess } from './process.ts';
import { checkoutId, makeOutsideDir, outsideDir, type State, servicesDir } from './state.ts';

const dir = join(servicesDir, 'docker');
// The path of a socket has at most 107 characters, and the engine appends up to 40.
const SOCKET_PATH_MAX = 60;
const runDir = dir.length <= SOCKET_PATH_MAX ? dir : join(outsideDir, 'docker');
const own = { dataDir: join(dir, 'data'), runDir, name: `chronoverse-${checkoutId}` };

export const docker: Part = {
  name: 'docker',
  title: 'Docker engine',
  needs: [
    { command: 'dockerd', debianPackage: 'docker.io' },
    { command: 'iptables', debianPackage: 'iptables' },
    { command: 'ip', debianPackage: 'iproute2' },
  ],

  async prepare(state) {
    if (process.getuid?.() !== 0) throw new Error('A Docker engine has to be started as root, and none is running.');
    if (runDir !== dir) await makeOutsideDir();
    state.bridge = await bringBridgeUp(state.bridge);
    const pool = `base=${USER_POOL.base},size=${USER_POOL.size}`;
    return prepareEngine(own, ['--bridge', state.bridge.name, '--default-address-pool', pool]);
  },

  async probe(state) {
    await new Docker({ socketPath: host(state).slice('unix://'.length), timeout: 3_000 }).ping();
  },

  async finish(state) {
    return ensureBaseImage(new Docker({ socketPath: host(state).slice('unix://'.length) }));
  },

  async cleanUp(state) {
    await removeLeftovers(own);
    await stopContainers(own);
    if (state.bridge) await removeBridge(state.bridge);
  },

  setting(state) {
    return ['DOCKER_HOST', host(state)];
  },
};

function host(state: State): string {
  return state.foreignDockerHost ?? engineAddress(own);
}

/**
 * An engine with its data in `dataDir`, its socket and pid files in `runDir`, and a `name` that is
 * unique on this machine.
 */
export interface Engine {
  dataDir: string;
  runDir: string;
  name: string;
}

export function engineAddress({ runDir }: Engine): string {
  return `unix://${join(runDir, 'docker.sock')}`;
}

/**
 * Prepares a start. Call it again before each start, because a killed engine leaves files behind.
 */
export async function prepareEngine(engine: Engine, options: string[]): Promise<Launch> {
  const { dataDir, runDir, name } = engine;
  await mkdir(runDir, { recursive: true, mode: 0o711 });
  await removeLeftovers(engine);
  const { pidFile, execRoot } = placesOf(engine);
  const places = ['--data-root', dataDir, '--exec-root', execRoot, '--pidfile', pidFile];
  const names = ['--containerd-namespace', name, '--containerd-plugins-namespace', `${name}-plugins`];
  // The engine's own rules would replace those of an existing engine. bridge.ts adds the rules that
  // matter instead.
  const network = ['--iptables=false', '--ip-masq=false'];
  return {
    command: await requireCommand('dockerd'),
    args: ['-H', engineAddress(engine), ...places, ...names, ...network, ...options],
    env: { PATH: searchPath }, // it looks for containerd, runc and docker-init there
  };
}

/**
 * A killed engine leaves its containers running, with mounts that keep its data from being removed.
 * Call it when the engine has stopped.
 */
export async function stopContainers({ name, dataDir, runDir }: Engine): Promise<void> {
  if (process.platform !== 'linux') return;
  await stopShims(name);
  for (const dir of [dataDir, runDir]) await unmountAll(dir);
}

function placesOf({ runDir }: Engine) {
  return { pidFile: join(runDir, 'docker.pid'), execRoot: join(runDir, 'exec') };
}

/**
 * A killed engine leaves pid files, and sometimes its containerd. A new engine takes any process
 * with that pid, even a zombie, for the old one. Then it refuses to start, or waits 15 s for a
 * containerd that never answers.
 */
async function removeLeftovers(engine: Engine): Promise<void> {
  const { pidFile, execRoot } = placesOf(engine);
  // The engine is running: these are no leftovers.
  if (await isAlive(pidFile, engineAddress(engine))) return;
  await rm(pidFile, { force: true });
  const containerdPidFile = join(execRoot, 'containerd', 'containerd.pid');
  const containerd = await isAlive(containerdPidFile, execRoot);
  if (containerd) await stopProcess(containerd);
  await rm(containerdPidFile, { force: true });
}

async function isAlive(file: string, mark: string): Promise<ProcessIdentity | undefined> {
  const pid = Number(await readFile(file, 'utf8').catch(() => ''));
  const found = pid ? await identify(pid) : undefined;
  return found?.command.includes(mark) ? found : undefined;
}
