import { once } from 'node:events';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { processName } from '../../platform/process-identity.ts';
import { withBoundProcesses } from '../../workers/workflow/builds/bounds.ts';
import { builtTag } from '../../workers/workflow/builds/built-image.ts';
import { createRemovals } from '../../workers/workflow/engine/removals.ts';
import { sweepImages } from '../../workers/workflow/sweeps/images.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { madeWith } from './engine-state.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'what steps of builds may do');
describe.skipIf(host === undefined)('the steps of a build', () => {
  const marker = `marker-${newId()}`;
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start({ maxResources: { cpus: 1, memoryMb: 512, pids: 100 } });
  });
  afterAll(async () => {
    const { db } = here.database;
    for (const { id, userId } of await db.select().from(workflows)) await terminateWorkflow(db, { id, userId });
    await until('no image of ours is needed', async () => {
      await sweepImages({ ...here, db });
      const { images, containers } = await madeWith(host, marker);
      return images.length + containers.length === 0;
    });
    await here.close();
  });

  const sources = (...steps: string[]) => ({
    dockerfile: [`FROM ${IMAGE}`, `RUN echo ${marker}`, ...steps].join('\n'),
  });
  const logOf = async (buildId: string) => (await storedTexts(here.database.db, buildId)).join('\n');

  test('have as many processes as the payload requests, and no more', async () => {
    // docs/operate says what the operator does on such an engine.
    if (!(await here.docker.hasProcessGroups())) return;
    const spawn = `RUN (i=0; while [ $i -lt 600 ]; do sleep 5 & i=$((i+1)); done; echo all of them) 2>&1 || echo refused`;
    const count = 'RUN i=0; while [ $i -lt 5 ]; do sleep 1 & i=$((i+1)); done; wait; echo five of them';
    const { buildId } = await here.create({ build: sources(count, spawn), resources: { pids: 10 } });
    await buildIn(here.database.db, buildId, 'COMPLETED');
    const text = await logOf(buildId);
    expect(text).toContain('\nfive of them');
    expect(text).toMatch(/can't fork|refused/);
    expect(text).not.toContain('\nall of them');
    // The operator allows 100 processes.
    const most = await here.create({ build: sources(spawn), resources: { pids: 1_000 } });
    await buildIn(here.database.db, most.buildId, 'COMPLETED');
    expect(await logOf(most.buildId)).not.toContain('\nall of them');
  });

  test('have the network of the payload', async () => {
    const look = 'RUN echo networks: $(ls /sys/class/net)';
    const none = await here.create({ build: sources(look), network: 'NONE' });
    const bridge = await here.create({ build: sources(look) });
    await buildIn(here.database.db, none.buildId, 'COMPLETED');
    await buildIn(here.database.db, bridge.buildId, 'COMPLETED');
    expect(await logOf(none.buildId)).toMatch(/^networks: lo$/m);
    expect(await logOf(bridge.buildId)).toMatch(/^networks: .*eth0/m);
  });

  test('print none of our labels, and not the id of the installation', async () => {
    const { buildId } = await here.create({ build: sources('LABEL mine=1', 'CMD ["true"]') });
    await buildIn(here.database.db, buildId, 'COMPLETED');
    const text = await logOf(buildId);
    expect(text.match(/^Step .*/gm)).toEqual([
      `Step 1/4 : FROM ${IMAGE}`,
      `Step 2/4 : RUN echo ${marker}`,
      'Step 3/4 : LABEL mine=1',
      'Step 4/4 : CMD ["true"]',
    ]);
    expect(text).not.toContain('chronoverse.image');
    expect(text).not.toContain(here.installation);
  });

  test('print none of our labels after a step that prints the lines of later steps itself', async () => {
    const forge = 'RUN for n in 4 5 6 7 8 9 10 11 12 13 14; do echo "Step $n/14 : RUN forged"; done';
    const { buildId } = await here.create({ build: sources(forge, `FROM ${IMAGE}`, `RUN echo ${marker} forged`) });
    await buildIn(here.database.db, buildId, 'COMPLETED');
    const text = await logOf(buildId);
    expect(text).toContain(`\n${marker} forged`);
    expect(text).toContain(' : RUN forged');
    expect(text).not.toContain('chronoverse.image');
    expect(text).not.toContain(here.installation);
  });

  test("are not mistaken for a job's container, whatever labels a Dockerfile gives them", async () => {
    // The sweep would remove the container of a job that no longer exists, and would follow that of
    // another job and add its lines there.
    const labels = [`installation=${here.installation}`, `job=${newId()}`, 'attempt=1', `build.owner=x`];
    const { buildId } = await here.create({
      build: sources(...labels.map((label) => `LABEL chronoverse.${label}`), 'RUN sleep 7; echo done'),
    });
    await until('its step runs', async () =>
      (await here.docker.listContainers({ 'chronoverse.attempt': '1' })).some(
        ({ labels: own }) => own['chronoverse.build.owner'],
      ),
    );
    const other = await here.start(); // this worker checks everything on the engine
    await buildIn(here.database.db, buildId, 'COMPLETED');
    expect(await logOf(buildId)).toContain('\ndone');
    await other.close();
  });

  test('left by a killed worker are removed by the next sweep, and those of a live worker are not', async () => {
    if (!(await here.docker.hasProcessGroups())) return;
    const alive = await processName();
    const dead = alive.split(' ').with(2, '999999999').join(' ');
    const { docker, installation } = here;
    const removals = createRemovals({ docker, log: quiet });
    const bounds = {
      docker,
      removals,
      installation,
      pids: 5,
      seconds: 60,
      policy: { networks: [], buildsAllowed: true },
    };
    const done = new AbortController();
    const names = async () => {
      const left = await docker.listContainers({ 'chronoverse.installation': installation });
      return left.filter(({ labels }) => labels['chronoverse.build.until']).length;
    };
    await until('builds of other tests are over', async () => (await names()) === 0);
    const both = [dead, alive].map((owner) =>
      withBoundProcesses({ ...bounds, owner }, () => once(done.signal, 'abort')),
    );
    await until('both are there', async () => (await names()) === 2);
    await until('one is swept', async () => (await names()) === 1);
    done.abort();
    await Promise.all(both);
    expect(await names()).toBe(0);
  });

  test('do not run where builds are no longer allowed, nor do jobs that need one, and no workflow is blamed', async () => {
    const { db } = here.database;
    const { id, buildId } = await here.create({ build: sources('CMD ["true"]') });
    await here.job(id, 'COMPLETED');
    const [row] = await db.select().from(workflows).where(eq(workflows.id, id));
    const other = await openInstallation(host);
    await other.start({ policy: { networks: ['NONE'], buildsAllowed: false } });
    const refused = await other.create({ build: sources('RUN echo no') });
    expect(await buildIn(other.database.db, refused.buildId, 'FAILED')).toMatchObject({
      error: expect.stringContaining('BUILDS_ALLOWED'),
    });
    const bridged = await other.create({ command: ['true'], network: 'BRIDGE' }, 1);
    expect(await other.job(bridged.id, 'FAILED')).toMatchObject({
      failureReason: 'SYSTEM',
      failureMessage: expect.stringContaining('CONTAINER_NETWORKS'),
    });
    const first = await other.create({ command: ['sh', '-c'], args: ['ls /sys/class/net'] });
    const job = await other.job(first.id, 'COMPLETED');
    expect(await storedTexts(other.database.db, job.id)).toEqual(['lo']);
    await other.close();
    expect(await buildIn(db, buildId, 'COMPLETED')).toBeDefined();
    await here.docker.removeImage(builtTag({ workflowId: id, generation: 1 })).catch(() => undefined);
    await runWorkflow(db, { userId: row?.userId ?? '', id });
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await here.job(id, 'COMPLETED', 1); // builds are allowed here
  });
});
