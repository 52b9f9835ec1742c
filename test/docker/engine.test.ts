import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { refusingEngine } from '../support/refusing-engine.ts';
import {
  dockerHost,
  IMAGE,
  openDocker,
  openRegistry,
  removeAll,
  runLabel,
  startShell,
  untilKillSeen,
} from './support.ts';

const never = new AbortController().signal;

test('an engine that does not exist is UNREACHABLE, with a message that names its address', async () => {
  const docker = openDocker('unix:///nowhere/docker.sock');
  expect(await docker.isUp()).toBe(false);
  await expect(docker.engineId()).rejects.toMatchObject({
    kind: 'UNREACHABLE',
    message: 'No Docker engine answers.',
    words: expect.stringContaining('No Docker engine answers at unix:///nowhere/docker.sock: '),
  });
  await expect(openDocker('tcp://127.0.0.1:1').findImage('x')).rejects.toMatchObject({ kind: 'UNREACHABLE' });
});

const host = dockerHost('containers, images and pulls on a Docker engine');
describe.skipIf(host === undefined)('on a real engine', () => {
  const labels = runLabel();
  let docker: Docker;
  beforeAll(() => {
    docker = openDocker(host);
  });
  afterAll(async () => {
    await removeAll(docker, labels);
    expect(await docker.listContainers(labels)).toEqual([]);
  });

  test('a container passes through its states, and its exit code is known', async () => {
    const spec = { name: `states-${process.pid}`, image: IMAGE, entrypoint: ['sh', '-c'], args: ['exit 7'], labels };
    const id = await docker.createContainer(spec);
    expect(await docker.inspectContainer(id)).toMatchObject({ status: 'created', startedAt: undefined });
    await expect(docker.createContainer(spec)).rejects.toMatchObject({ kind: 'CONFLICT' });
    await docker.startContainer(id);
    await docker.waitContainer(id, { timeoutMs: 20_000, signal: never });
    expect(await docker.inspectContainer(id)).toMatchObject({ id, status: 'ended', exitCode: 7, oomKilled: false });
    expect(await docker.stopContainer(id, 1)).toBe(false);
    await docker.removeContainer(id, { force: false });
    await docker.removeContainer(id, { force: false }); // a missing container is no error
    expect(await docker.inspectContainer(id)).toBeUndefined();
  });

  test('a running container is not removed without force, and starting it again is no error', async () => {
    const id = await startShell(docker, labels, 'sleep 60');
    await docker.startContainer(id);
    await expect(docker.removeContainer(id, { force: false })).rejects.toMatchObject({ kind: 'CONFLICT' });
    await docker.removeContainer(id, { force: true });
  });

  test('a container is confined: no capabilities, no new privileges, an init process, bounded files, processes and memory', async () => {
    const id = await startShell(
      docker,
      labels,
      'grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status; cat /proc/1/comm; ulimit -n; ulimit -c',
    );
    const text = await readLog(id);
    expect(text).toMatch(/CapBnd:\s+0000000000000000/);
    expect(text).toMatch(/CapEff:\s+0000000000000000/);
    expect(text).toMatch(/NoNewPrivs:\s+1/);
    expect(text).toContain('docker-init');
    expect(text).toMatch(/ 8192\n/);
  });

  test('a limit on the disk is requested, and an engine without one is warned of once; the log is limited to about what is kept', async () => {
    const warnings: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) });
    const own = createDocker({ host, log });
    const changes = { diskBytes: 64 * 1024 * 1024, logBytes: 1_000_000 };
    const ids = [await startShell(own, labels, 'true', changes), await startShell(own, labels, 'true', changes)];
    for (const id of ids) {
      const inspected = await createEngine({ host }).call({ method: 'GET', path: `/containers/${id}/json` });
      const Config = {
        'max-size': String(2_000_000 + 64 * 1024 * 1024),
        'max-file': '1',
        compress: 'false',
        mode: 'blocking',
      };
      expect(inspected).toMatchObject({
        HostConfig: {
          ...(warnings.length === 0 ? { StorageOpt: { size: String(changes.diskBytes) } } : {}),
          LogConfig: { Type: 'local', Config },
        },
      });
    }
    if (warnings.length > 0) expect(warnings).toEqual([expect.stringContaining('MAX_CONTAINER_DISK_MB')]);
  });

  test("a user's text in a refusal never turns the limit on the disk off", async () => {
    const warnings: string[] = [];
    const engine = await refusingEngine(host ?? '');
    const own = createDocker({
      host: engine.host,
      log: pino({ level: 'warn' }, { write: (line) => void warnings.push(line) }),
    });
    const create = (message: string, isRefused: () => boolean) => {
      engine.refuse = (method, path) =>
        method === 'POST' && path.includes('/containers/create') && isRefused() ? { status: 500, message } : undefined;
      return own.createContainer({
        name: `bound-${process.pid}-${engine.refused}`,
        image: IMAGE,
        labels,
        diskBytes: 64 * 1024 * 1024,
      });
    };
    const once = () => {
      let isFirst = true;
      return () => {
        const was = isFirst;
        isFirst = false;
        return was;
      };
    };
    const storage = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
    await expect(create('source /a/merged/storage-opt is not directory', once())).rejects.toThrow();
    await expect(create(`cannot mount at /x: ${storage}`, once())).rejects.toThrow();
    await expect(create(storage, () => true)).rejects.toMatchObject({ words: storage });
    expect(warnings).toEqual([]);
    await create(storage, once());
    expect(warnings).toEqual([expect.stringContaining('MAX_CONTAINER_DISK_MB')]);
    await engine.close();
  });

  test('memory beyond the limit kills the container, and the engine reports that', async () => {
    const resources = { cpus: 1, memoryBytes: 16 * 1024 * 1024, pids: 16 };
    const states = await untilKillSeen(
      async () => {
        const id = await startShell(docker, labels, 'exec tail /dev/zero', { resources });
        await docker.waitContainer(id, { timeoutMs: 20_000, signal: never });
        return await docker.inspectContainer(id);
      },
      (state) => state?.oomKilled === true,
    );
    for (const state of states) expect(state).toMatchObject({ status: 'ended', exitCode: 137 });
    expect(states.at(-1)).toMatchObject({ oomKilled: true });
  });

  test('a stop sends SIGTERM, and SIGKILL to a process that ignores it', async () => {
    const polite = await startShell(docker, labels, 'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done');
    const deaf = await startShell(docker, labels, 'trap "" TERM; echo up; while :; do sleep 0.1; done');
    await Promise.all([untilPrinted(polite), untilPrinted(deaf)]);
    expect(await Promise.all([docker.stopContainer(polite, 10), docker.stopContainer(deaf, 1)])).toEqual([true, true]);
    expect(await docker.inspectContainer(polite)).toMatchObject({ exitCode: 5 });
    expect(await docker.inspectContainer(deaf)).toMatchObject({ exitCode: 137 });
  });

  test('a list has all containers of a label, in any state, and no others', async () => {
    const own = { ...labels, other: 'yes' };
    const id = await startShell(docker, own, 'true');
    expect((await docker.listContainers(own)).map((container) => container.id)).toEqual([id]);
    expect(await docker.listContainers({ ...own, other: 'no' })).toEqual([]);
  });

  test('an image is found by its name and by its id, and a missing one is undefined', async () => {
    const id = await docker.findImage(IMAGE);
    expect(id).toMatch(/^sha256:/);
    expect(await docker.findImage(id ?? '')).toBe(id);
    expect(await docker.findImage('example.invalid/no/such:1')).toBeUndefined();
    await expect(docker.createContainer({ name: 'none', image: 'no-such-image:1', labels })).rejects.toMatchObject({
      kind: 'NOT_FOUND',
    });
  });

  test("a pull fails with the registry's message: not found and denied are final, 429 and no answer are temporary", async () => {
    const pull = (reference: string) => docker.pullImage(reference, { onProgress: () => undefined, signal: never });
    let status = 404;
    const { host: registry, server } = await openRegistry(() => status);
    await expect(pull(`${registry}/x:1`)).rejects.toMatchObject({ kind: 'NOT_FOUND' });
    status = 429;
    await expect(pull(`${registry}/x:1`)).rejects.toMatchObject({ kind: 'BUSY' });
    status = 503;
    await expect(pull(`${registry}/x:1`)).rejects.toMatchObject({ kind: 'BUSY' });
    status = 401;
    await expect(pull(`${registry}/x:1`)).rejects.toMatchObject({ kind: 'DENIED' });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(pull(`${registry}/x:1`)).rejects.toMatchObject({ kind: 'UNREACHABLE' });
    await expect(pull('Not A Reference')).rejects.toMatchObject({ kind: 'INVALID' });
  });

  async function readLog(id: string): Promise<string> {
    const parts: Buffer[] = [];
    for await (const part of await docker.openLog(id, { follow: true, signal: never })) parts.push(part);
    return Buffer.concat(parts).toString('latin1');
  }

  async function untilPrinted(id: string): Promise<void> {
    const stop = new AbortController();
    for await (const _ of await docker.openLog(id, { follow: true, signal: stop.signal })) break;
    stop.abort();
  }
});
