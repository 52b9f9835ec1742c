import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import Docker from 'dockerode';
import { expect, test } from 'vitest';
import { ensureBaseImage } from '../../dev/services/base-image.ts';
import { engineAddress, prepareEngine, stopContainers } from '../../dev/services/docker.ts';
import { identify } from '../../dev/services/process.ts';
import { hasCommand, serverOf } from '../support/servers.ts';

const canRun = process.getuid?.() === 0 && (await hasCommand('dockerd', 'the leftovers of a killed engine'));

test.skipIf(!canRun)(
  'an engine that was killed while a container ran leaves no process, mount or folder behind',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cv-left-'));
    const engine = { dataDir: join(dir, 'data'), runDir: dir, name: `chronoverse-${basename(dir)}` };
    const client = new Docker({ socketPath: join(dir, 'docker.sock'), timeout: 10_000 });
    const launch = await prepareEngine(engine, ['--bridge', 'none']);
    const server = serverOf({
      address: engineAddress(engine),
      dir,
      launch,
      probe: async () => void (await client.ping()),
    });
    await server.start();
    await ensureBaseImage(client);
    const container = await client.createContainer({
      Image: 'alpine:3',
      Cmd: ['sleep', '1000'],
      HostConfig: { NetworkMode: 'none', Init: true },
    });
    await container.start();
    const { State } = await container.inspect();
    await server.kill();
    expect(await identify(State.Pid)).toBeDefined(); // it outlives its engine

    await prepareEngine(engine, []); // ends the engine's containerd
    await stopContainers(engine);
    expect(await identify(State.Pid)).toBeUndefined();
    expect(await readFile('/proc/mounts', 'utf8')).not.toContain(dir);
    await rm(dir, { recursive: true }); // EBUSY while a mount is left
    await expect(stat(dir)).rejects.toThrow('ENOENT');
  },
);
