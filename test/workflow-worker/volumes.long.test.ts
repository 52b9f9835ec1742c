import { sql } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deleteVolume, listVolumes } from '../../db/volumes.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import type { ContainerSpec } from '../../platform/docker/containers.ts';
import { volumeName } from '../../workers/workflow/engine/volumes.ts';
import { createVolumeRemoval, noteVolumes } from '../../workers/workflow/sweeps/volumes.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { removeVolumes } from './engine-state.ts';
import { buildIn, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'volumes of users on an engine');
describe.skipIf(host === undefined)('the volumes of a user on an engine', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
  });
  afterAll(async () => {
    await here.close();
    expect(await removeVolumes(host, here.installation)).toEqual([]);
  });

  test('are known with their size, and are removed from it when their owner deletes them, not before', async () => {
    const { db } = here.database;
    const first = await here.start();
    const shell = { command: ['sh', '-c'], args: ['head -c 3000000 /dev/zero > /data/file; echo written; sleep 30'] };
    const { id, buildId } = await here.create({ ...shell, volumes: [{ name: 'data', path: '/data' }] });
    const job = await here.job(id, 'RUNNING');
    await until('it is written to', async () => (await storedTexts(db, job.id)).includes('written'));
    const { userId } = await buildIn(db, buildId, 'COMPLETED');
    const list = () => listVolumes(db, userId, { count: 10, backwards: false });
    expect((await list())[0]?.lastUsedAt).toBeInstanceOf(Date);
    await first.close();
    // A new worker looks at once, also at volumes that a container mounts.
    const second = await here.start();
    await until('its size is known', async () => Number((await list())[0]?.sizeBytes) >= 3_000_000);
    expect(await deleteVolume(db, { userId, name: 'data' })).toEqual({ outcome: 'IN_USE', workflowId: id });
    await terminateWorkflow(db, { userId, id });
    // A job of the workflow still runs.
    expect(await deleteVolume(db, { userId, name: 'data' })).toMatchObject({ outcome: 'IN_USE' });
    await here.job(id, 'CANCELED');
    expect(await deleteVolume(db, { userId, name: 'data' })).toEqual({ outcome: 'DELETED' });
    const name = volumeName({ installation: here.installation, userId, name: 'data' });
    await until('the engine has it no more', async () => {
      const volumes = await here.docker.listVolumes({ 'chronoverse.installation': here.installation });
      return !volumes.some((volume) => volume.name === name);
    });
    await until(
      'the name is free',
      async () => (await deleteVolume(db, { userId, name: 'data' })).outcome === 'NOT_FOUND',
    );
    await second.close();
  });

  test('that are deleted while the engine creates the container of a lost job do not come back', async () => {
    const { db } = here.database;
    const lost = { installation: here.installation, db, docker: here.docker };
    const deleted = new AbortController();
    const docker = {
      ...here.docker,
      async createContainer(spec: ContainerSpec) {
        await db.execute(sql`UPDATE jobs SET status = 'CANCELED', completed_at = now(), lease_token = NULL`);
        await terminateWorkflow(db, { userId, id: made.id });
        expect(await deleteVolume(db, { userId, name: 'lost' })).toEqual({ outcome: 'DELETED' });
        await createVolumeRemoval(lost)();
        expect(await deleteVolume(db, { userId, name: 'lost' })).toEqual({ outcome: 'NOT_FOUND' });
        const id = await here.docker.createContainer(spec);
        deleted.abort();
        return id;
      },
    };
    const worker = await here.start({ docker });
    const made = await here.create({ command: ['true'], volumes: [{ name: 'lost', path: '/data' }] });
    const { userId } = await buildIn(db, made.buildId, 'COMPLETED');
    await until('it is made', async () => deleted.signal.aborted);
    await until('its container is gone', async () => (await here.containers()).length === 0);
    await worker.close();
    const left = await here.docker.listVolumes({ 'chronoverse.installation': here.installation });
    expect(left.map(({ name }) => name)).not.toContain(
      volumeName({ installation: here.installation, userId, name: 'lost' }),
    );
    await noteVolumes(lost, AbortSignal.timeout(10_000));
    expect(await listVolumes(db, userId, { count: 10, backwards: false })).toEqual([]);
  });

  test('are removed even while the engine is busy with their sizes; and a worker warns of a limit that builds lack', async () => {
    const { db } = here.database;
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) });
    let asked = 0;
    const docker = {
      ...here.docker,
      listVolumes: async () => [{ name: 'another', labels: {} }],
      volumeSizes({ signal }: { signal: AbortSignal }) {
        asked += 1;
        return new Promise<undefined>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
      hasProcessGroups: async () => false,
    };
    const worker = await here.start({ docker, log });
    await until('sizes are asked for', async () => asked > 0);
    const { id, buildId } = await here.create({ command: ['true'], volumes: [{ name: 'more', path: '/data' }] });
    await here.job(id, 'COMPLETED');
    const { userId } = await buildIn(db, buildId, 'COMPLETED');
    await terminateWorkflow(db, { userId, id });
    expect(await deleteVolume(db, { userId, name: 'more' })).toEqual({ outcome: 'DELETED' });
    await until('it is gone', async () => (await deleteVolume(db, { userId, name: 'more' })).outcome === 'NOT_FOUND');
    await worker.close();
    expect(asked).toBe(1);
    expect(lines).toEqual([expect.stringContaining('BUILD_CGROUP_PARENT')]);
  });
});
