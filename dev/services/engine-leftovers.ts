import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify, run } from './process.ts';

const GONE_MS_MAX = 5_000;
const LOOK_MS = 50;

/**
 * Kills the containers of the engine whose containerd uses this namespace. Each has a shim, which
 * outlives a killed engine, and ends when its container has ended.
 */
export async function stopShims(namespace: string): Promise<void> {
  const deadline = Date.now() + GONE_MS_MAX;
  for (let shims = await shimsOf(namespace); shims.length > 0; shims = await shimsOf(namespace)) {
    if (Date.now() > deadline) throw new Error(`Containers of ${namespace} do not end: processes ${shims.join(', ')}.`);
    const children = await childrenOf(new Set(shims));
    for (const pid of children.length > 0 ? children : shims) kill(pid);
    await sleep(LOOK_MS);
  }
}

/** Detaches every mount below a folder, the innermost first. */
export async function unmountAll(dir: string): Promise<void> {
  const lines = (await readFile('/proc/mounts', 'utf8')).split('\n');
  const places = lines.map((line) =>
    (line.split(' ')[1] ?? '').replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
  );
  for (const place of places.filter((place) => place === dir || place.startsWith(`${dir}/`)).reverse())
    await run('umount', ['--lazy', place]);
}

async function shimsOf(namespace: string): Promise<number[]> {
  const shims = await Promise.all(
    (await pids()).map(async (pid) => {
      const found = await identify(pid);
      const isShim = found?.command.includes('containerd-shim') && found.command.split(/[ \0]/).includes(namespace);
      return isShim ? [pid] : [];
    }),
  );
  return shims.flat();
}

async function childrenOf(parents: Set<number>): Promise<number[]> {
  const children = await Promise.all(
    (await pids()).map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''); // it has ended
      const [, parent] = /^PPid:\s+(\d+)$/m.exec(status) ?? [];
      const isZombie = /^State:\s+Z/m.test(status);
      return parents.has(Number(parent)) && !isZombie ? [pid] : [];
    }),
  );
  return children.flat();
}

async function pids(): Promise<number[]> {
  return (await readdir('/proc')).map(Number).filter((pid) => pid > 1);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    const isGone = error instanceof Error && 'code' in error && error.code === 'ESRCH';
    if (!isGone) throw error;
  }
}
