import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId } from '../../domain/ids.ts';
import { STOP_GRACE_SECONDS } from '../../domain/limits.ts';
import { CONTAINER_POLICY } from '../../domain/payload/container-policy.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { volumeLabels, volumeName } from '../../workers/workflow/engine/volumes.ts';
import { testUser } from '../support/database.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { removeVolumes } from './engine-state.ts';
import { IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'volumes, bounds and networks of CONTAINER jobs');
describe.skipIf(host === undefined)('what a payload gives a container', () => {
  let here: Installation;
  const shared = `cv-shared-${process.pid}`;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start({
      maxResources: { cpus: 0.5, memoryMb: 64, pids: 20 },
      policy: { ...CONTAINER_POLICY, capabilities: ['CHOWN', 'NET_BIND_SERVICE'], sharedNetworks: [shared, 'missing'] },
    });
    const body = { Name: shared, Driver: 'bridge' };
    await createEngine({ host }).call({ method: 'POST', path: '/networks/create', body });
  });
  afterAll(async () => {
    await untilNoContainers();
    await removeVolumes(host, here.installation);
    await here.docker.removeNetwork(shared);
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

  test('a container has the shared memory that it asks for, within the memory that it may have', async () => {
    const size = "df -k /dev/shm | tail -1 | awk '{ print $2 }'";
    expect(await run({}, size)).toEqual(['65536']);
    expect(await run({ resources: { shared_memory_mb: 32 } }, size)).toEqual(['32768']);
    expect(await run({ resources: { shared_memory_mb: 4_096 } }, size)).toEqual(['65536']);
  });

  test('a container has the capabilities that it asks for and the operator allows, and no other', async () => {
    const held = 'grep CapEff /proc/self/status | tr -d "\\t"';
    expect(await run({}, held)).toEqual(['CapEff:0000000000000000']);
    expect(await run({ capabilities: ['CHOWN'] }, `${held}; touch /x && chown 7 /x`)).toEqual([
      'CapEff:0000000000000001',
    ]);
    const { id } = await here.create({ capabilities: ['SYS_ADMIN'], command: ['true'] });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'SYSTEM',
      failureMessage:
        'The capability SYS_ADMIN is not allowed in this installation (CONTAINER_CAPABILITIES): use CHOWN or NET_BIND_SERVICE.',
    });
  });

  test('containers of several users reach each other on a network that the operator shares', async () => {
    const bob = await testUser(here.database.db, 'bob');
    const served = await here.create({
      network_name: shared,
      command: ['sh', '-c', 'hostname -i; echo hello | timeout 60 nc -l -p 80'],
      capabilities: ['NET_BIND_SERVICE'],
    });
    const { id } = await here.job(served.id, 'RUNNING');
    const [address] = await until('it listens', async () => {
      const lines = await storedTexts(here.database.db, id);
      return lines.length > 0 ? lines : undefined;
    });
    const ask = `until nc ${address} 80 </dev/null; do sleep 0.1; done`;
    expect(await run({ network_name: shared }, ask, bob)).toEqual(['hello']);
    await here.job(served.id, 'COMPLETED');
  });

  test('names that JavaScript treats specially work like others', async () => {
    const env = { constructor: 'a', toString: 'b', ['__proto__']: 'c' };
    expect((await run({ env }, 'env')).sort()).toEqual(
      expect.arrayContaining(['__proto__=c', 'constructor=a', 'toString=b']),
    );
  });

  test('a program runs as the user of the payload, by id or by a name of the image', async () => {
    expect(await run({ user: '1234:5678' }, 'id -u; id -g')).toEqual(['1234', '5678']);
    expect(await run({ user: 'nobody' }, 'id -u')).toEqual(['65534']);
    const { id } = await here.create({ user: 'nosuch', command: ['true'] });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'START_FAILED', failureMessage: 'The image has no user "nosuch".' });
  });

  const ownerOf = 'stat -c "%u:%g %a" /data';

  test('a program that is not root writes to a new volume, and a volume in use keeps its owner', async () => {
    const volumes = [{ name: 'fresh', path: '/data' }];
    const user = '1234:5678';
    expect(await run({ volumes, user }, `touch /data/mine; ${ownerOf}`)).toEqual(['1234:5678 755']);
    expect(await run({ volumes, user: 'nobody' }, `touch /data/x 2>&1 || ${ownerOf}`)).toContain('1234:5678 755');
    expect(await run({ volumes: [{ name: 'roots', path: '/data' }] }, ownerOf)).toEqual(['0:0 755']);
    const byName = { volumes: [{ name: 'named', path: '/data/' }], user: 'nobody' };
    expect(await run(byName, `touch /data/mine; ${ownerOf}`)).toEqual(['65534:65534 755']);
    const build = { dockerfile: `FROM ${IMAGE}\nRUN mkdir /data && chmod 700 /data\nUSER 1234` };
    expect(await run({ build, volumes: [{ name: 'image', path: '/data' }] }, ownerOf)).toEqual(['1234:0 700']);
    const nested = [
      { name: 'outer', path: '/data' },
      { name: 'inner', path: '/data/in' },
    ];
    expect(await run({ volumes: nested, user }, 'touch /data/a /data/in/b; ls -a /data/in')).toContain('b');
  });

  test('a volume goes to the owner of the payload, with what is in it', async () => {
    const volume = { name: 'owned', path: '/data' };
    expect(await run({ volumes: [volume] }, 'touch /data/roots; chmod 711 /data')).toEqual([]);
    const owned = { volumes: [{ ...volume, owner: '1234:5678' }], user: '1234' };
    expect(await run(owned, `touch /data/mine; ${ownerOf}; ls /data`)).toEqual(['1234:5678 711', 'mine', 'roots']);
    expect(await run({ volumes: [{ ...volume, owner: '99' }] }, ownerOf)).toEqual(['99:5678 711']);
    const readOnly = { volumes: [{ ...volume, owner: '7', read_only: true as const }] };
    expect(await run(readOnly, ownerOf)).toEqual(['99:5678 711']);
    const build = { dockerfile: `FROM ${IMAGE}\nRUN ln -s /srv /link` };
    const { id } = await here.create({ build, volumes: [{ name: 'linked', path: '/link', owner: '7' }] });
    expect((await here.job(id, 'FAILED')).failureMessage).toContain('/link is a symbolic link in the image');
    const long = { volumes: [{ ...volume, owner: '1000680000:1000680001' }] };
    for (const _ of [1, 2]) expect(await run(long, ownerOf)).toEqual(['1000680000:1000680001 711']);
  });

  /** Prints which of these signals stops it. */
  const TRAPS = {
    timeout_seconds: 3, // three of them start at once
    command: ['sh', '-c'],
    args: ['for s in INT TERM USR1; do trap "echo $s; exit" $s; done; echo up; while :; do sleep 0.1; done'],
  };

  test('a stop sends the signal of the image, or that of the payload', async () => {
    const build = { dockerfile: `FROM ${IMAGE}\nSTOPSIGNAL SIGINT` };
    const [byDefault, ofImage, ofPayload] = await Promise.all([
      here.create(TRAPS),
      here.create({ ...TRAPS, build }),
      here.create({ ...TRAPS, build, stop_signal: 'SIGUSR1' }),
    ]);
    for (const [{ id }, signal] of [
      [byDefault, 'TERM'],
      [ofImage, 'INT'],
      [ofPayload, 'USR1'],
    ] as const) {
      const job = await here.job(id, 'FAILED');
      expect(job).toMatchObject({ failureReason: 'TIMEOUT' });
      expect(await storedTexts(here.database.db, job.id)).toEqual(['up', signal]);
    }
  });

  test('a program that ignores its stop signal is killed after the grace of the payload', async () => {
    const deaf = { command: ['sh', '-c'], args: ['trap "" TERM; while :; do sleep 0.1; done'], timeout_seconds: 1 };
    const { id } = await here.create({ ...deaf, stop_grace_seconds: 0 });
    const { exitCode, startedAt, completedAt, failureReason } = await here.job(id, 'FAILED');
    expect({ exitCode, failureReason }).toEqual({ exitCode: 137, failureReason: 'TIMEOUT' });
    expect((completedAt?.getTime() ?? 0) - (startedAt?.getTime() ?? 0)).toBeLessThan(STOP_GRACE_SECONDS * 1_000);
  });

  test('NONE is a separate network without a way out', async () => {
    expect(await run({ network: 'NONE' }, 'ls /sys/class/net')).toEqual(['lo']);
    expect(await run({ network: 'BRIDGE' }, 'ls /sys/class/net')).toContain('eth0');
  });
});
