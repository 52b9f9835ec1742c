/** A Docker engine of its own, from Debian's package: own data, own socket, own bridge, no touch on another engine. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { ensureBaseImage } from './base-image.ts';
import { bringBridgeUp, removeBridge } from './bridge.ts';
import { requireCommand, searchPath } from './packages.ts';
import type { Part } from './parts.ts';
import { identify, type ProcessIdentity, stopProcess } from './process.ts';
import { checkoutId, makeOutsideDir, outsideDir, type State, servicesDir } from './state.ts';

const dir = join(servicesDir, 'docker');
const NAME = `chronoverse-${checkoutId}`;
const SOCKET_PATH_MAX = 60; // a socket's path ends at 107 characters, and the engine adds up to 40 of its own
const runDir = dir.length <= SOCKET_PATH_MAX ? dir : join(outsideDir, 'docker');
const socket = join(runDir, 'docker.sock');
const pidFile = join(runDir, 'docker.pid');
const execRoot = join(runDir, 'exec');

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
    await mkdir(runDir, { recursive: true, mode: 0o711 });
    await removeLeftovers();
    state.bridge = await bringBridgeUp(state.bridge);
    const places = ['--data-root', join(dir, 'data'), '--exec-root', execRoot, '--pidfile', pidFile];
    const names = ['--containerd-namespace', NAME, '--containerd-plugins-namespace', `${NAME}-plugins`];
    // Its own rules would replace those of an engine that is there: bridge.ts adds the two that matter instead.
    const network = ['--bridge', state.bridge.name, '--iptables=false', '--ip-masq=false'];
    return {
      command: await requireCommand('dockerd'),
      args: ['-H', `unix://${socket}`, ...places, ...names, ...network],
      env: { PATH: searchPath }, // it looks for containerd, runc and docker-init there
    };
  },

  async probe(state) {
    await new Docker({ socketPath: host(state).slice('unix://'.length), timeout: 3_000 }).ping();
  },

  async finish(state) {
    return ensureBaseImage(new Docker({ socketPath: host(state).slice('unix://'.length) }));
  },

  async cleanUp(state) {
    await removeLeftovers();
    if (state.bridge) await removeBridge(state.bridge);
  },

  setting(state) {
    return ['DOCKER_HOST', host(state)];
  },
};

function host(state: State): string {
  return state.foreignDockerHost ?? `unix://${socket}`;
}

/**
 * A killed engine leaves pid files, and sometimes its containerd. It takes any process of that pid, even a zombie, for
 * the one it knew: then it refuses to start, or waits 15 s for a containerd that never answers.
 */
async function removeLeftovers(): Promise<void> {
  if (await isAlive(pidFile, socket)) return; // it is in use: not a leftover
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
