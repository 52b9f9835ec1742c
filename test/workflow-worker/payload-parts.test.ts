import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId } from '../../domain/ids.ts';
import { volumeLabels, volumeName } from '../../workers/workflow/engine/volumes.ts';
import { testUser } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { removeVolumes } from './engine-state.ts';
import { type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'volumes, bounds and networks of CONTAINER jobs');
describe.skipIf(host === undefined)('what a payload gives a container', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start({ maxResources: { cpus: 0.5, memoryMb: 64, pids: 20 } });
  });
  afterAll(async () => {
    await untilNoContainers();
    await removeVolumes(host, here.installation);
    await here.close();
    expect(await removeVolumes(host, here.installation)).toEqual([]);
  });

  const untilNoContainers = () => until('no container is left', async () => (await here.containers()).length === 0);
  const run = async (payload: Parameters<Installation['create']>[0], script: string, userId?: string) => {
    const { id } = await here.create({ command: ['sh', '-c'], args: [script], ...payload }, 3, userId);
    const job = await here.job(id, 'COMPLETED');
    return storedTexts(here.database.db, job.id);
  };

  test('P5, P6: a volume keeps its content across jobs, and another user with a volume of the same name sees nothing of it', async () => {
    const volumes = [{ name: 'data', path: '/data' }];
    expect(await run({ volumes }, 'echo of ann > /data/file; ls /data')).toEqual(['file']);
    expect(await run({ volumes: [{ name: 'data', path: '/other' }] }, 'cat /other/file')).toEqual(['of ann']);
    const bob = await testUser(here.database.db, 'bob');
    expect(await run({ volumes }, 'ls /data; echo empty', bob)).toEqual(['empty']);
    const known = { installation: here.installation, userId: bob, name: 'data' };
    expect(volumeName(known)).not.toBe(volumeName({ ...known, userId: newId() }));
    await untilNoContainers();
    const found = await removeVolumes(host, here.installation, { userId: bob });
    expect(found).toEqual([{ name: volumeName(known), labels: volumeLabels(known) }]);
  });

  test('a read-only volume cannot be written', async () => {
    const volumes = [{ name: 'data', path: '/data', read_only: true as const }];
    expect(await run({ volumes }, 'touch /data/x 2>&1 || echo refused')).toContain('refused');
  });

  test('a container gets the resources that it requests within the maximums, which apply to older payloads too', async () => {
    const seen =
      'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max 2>/dev/null || cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us';
    const modest = await run({ resources: { memory_mb: 32, pids: 10, cpus: 0.25 } }, seen);
    expect(modest.join(' ')).toMatch(/^33554432 10 25000/);
    const greedy = await run({ resources: { memory_mb: 4_096, pids: 4_096, cpus: 4 } }, seen);
    expect(greedy.join(' ')).toMatch(/^67108864 20 50000/);
  });

  test('names that JavaScript treats specially work like others', async () => {
    const env = { constructor: 'a', toString: 'b', ['__proto__']: 'c' };
    expect((await run({ env }, 'env')).sort()).toEqual(
      expect.arrayContaining(['__proto__=c', 'constructor=a', 'toString=b']),
    );
  });

  test('NONE is a separate network without a way out', async () => {
    expect(await run({ network: 'NONE' }, 'ls /sys/class/net')).toEqual(['lo']);
    expect(await run({ network: 'BRIDGE' }, 'ls /sys/class/net')).toContain('eth0');
  });
});
