import type { AddressInfo, Server } from 'node:net';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { builds, jobs } from '../../db/schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { bridgeTo } from '../support/engine-bridge.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { refusingEngine } from '../support/refusing-engine.ts';
import { letPass, until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { letStepsGo } from './engine-state.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts, waitingBuild } from './support.ts';

/** Not the minutes that the waits have come to. A busy machine needs some of it. */
const SOON_MS = 30_000;

const host = requirePart('docker', 'workers whose engine is away');
describe.skipIf(host === undefined)('workers whose engine is away', () => {
  let here: Installation;
  let bridge: Server;
  let way: TestProxy;
  let proxied: Docker;
  let nowhere: Docker;
  beforeAll(async () => {
    here = await openInstallation(host);
    bridge = await bridgeTo(host ?? '');
    way = await proxyTo('127.0.0.1', (bridge.address() as AddressInfo).port);
    proxied = createDocker({ host: `tcp://127.0.0.1:${way.port}`, log: quiet });
    nowhere = createDocker({ host: 'unix:///nowhere/docker.sock', log: quiet });
  });
  afterAll(async () => {
    way.restore();
    await here.close();
    await way.close();
    bridge.close();
  });

  test('P3: a job that has waited 20 minutes for the engine runs within seconds when the engine is back', async () => {
    const worker = await here.start({ docker: proxied });
    const { id } = await here.create({ args: ['true'] });
    await here.job(id, 'COMPLETED');
    way.cut();
    await letPass(here.database.db, id, 3_601); // its next slot is due
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await here.job(id, 'QUEUED', 1);
    for (let minutes = 0; minutes < 20; minutes += 4) {
      await letPass(here.database.db, id, 240);
      await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    }
    way.restore();
    const back = Date.now();
    expect(await here.job(id, 'COMPLETED', 1)).toMatchObject({ attempt: 1 });
    expect(Date.now() - back).toBeLessThan(SOON_MS);
    await worker.close();
  });

  test('P3: of two workers, the one without an engine leaves all jobs and builds to the other', async () => {
    const { db } = here.database;
    const dead = await here.start({ docker: nowhere, owner: 'dead' });
    const live = await here.start({ owner: 'live' });
    const made = await Promise.all(
      Array.from({ length: 4 }, (_, n) =>
        here.create(n > 0 ? { args: ['true'] } : { build: { dockerfile: `FROM ${IMAGE}\nRUN echo ${newId()}` } }),
      ),
    );
    for (const { id, buildId } of made) {
      await buildIn(db, buildId, 'COMPLETED');
      await here.job(id, 'COMPLETED');
      expect(await db.select().from(builds).where(eq(builds.id, buildId))).toMatchObject([{ attempt: 1 }]);
      expect(await db.select().from(jobs).where(eq(jobs.workflowId, id))).toMatchObject([{ attempt: 1 }]);
    }
    await Promise.all([dead.close(), live.close()]);
  });

  test('an engine that goes away in the middle of a build costs the build an attempt: another worker builds it', async () => {
    const { db } = here.database;
    const broken = await here.start({ docker: proxied, owner: 'broken' });
    const marker = newId();
    const dockerfile = `FROM ${IMAGE}\nRUN echo ${marker} && ${UNTIL_LET_GO}`;
    const { buildId } = await here.create({ build: { dockerfile } });
    await until('a step runs', async () => (await storedTexts(db, buildId)).some((text) => text.startsWith('Step 2')));
    way.cut();
    const live = await here.start({ owner: 'live' });
    const built = await until('it is built', async () => {
      const [build] = await db.select().from(builds).where(eq(builds.id, buildId));
      if (build?.attempt === 2) await letStepsGo(host, marker);
      return build?.status === 'COMPLETED' ? build : undefined;
    });
    expect(built).toMatchObject({ attempt: 2, uncountedAttempts: 0, error: null });
    way.restore();
    await until('nothing is left on the engine', async () => (await here.containers()).length === 0);
    await Promise.all([broken.close(), live.close()]);
  });

  test('a container that ended while its engine was away costs an attempt, even if the engine is busy when it is back', async () => {
    const busy = await refusingEngine(`tcp://127.0.0.1:${way.port}`);
    const worker = await here.start({ docker: createDocker({ host: busy.host, log: quiet }) });
    const { id } = await here.create({ command: ['sh', '-c'], args: ['echo up; sleep 600'] });
    const { id: jobId, userId } = await here.job(id, 'RUNNING');
    const name = containerName({ id: jobId, attempt: 1 });
    await until('its log is followed', async () => (await storedTexts(here.database.db, jobId)).length > 0);
    way.cut();
    await here.docker.stopContainer(name, 0);
    busy.refuse = (method, path) => {
      if (method !== 'GET' || !path.startsWith('/info')) return undefined;
      return busy.refused < 3 ? { status: 503, message: 'busy' } : undefined;
    };
    way.restore();
    expect(await here.job(id, 'PENDING')).toMatchObject({ id: jobId, attempt: 1, uncountedAttempts: 0 });
    expect(busy.refused).toBe(3);
    // Its next attempt would outlive the worker.
    await cancelJob(here.database.db, { userId, id: jobId });
    await worker.close();
    await busy.close();
  });

  test('P4: if no worker has an engine, builds wait and say so, and are built within seconds when one is back', async () => {
    const { db } = here.database;
    const now = fastClock();
    const workers = [
      await here.start({ docker: nowhere, owner: 'dead', now }),
      await here.start({ docker: nowhere, owner: 'dead too', now }),
    ];
    const made = await Promise.all(Array.from({ length: 3 }, () => here.create({})));
    for (const { buildId } of made)
      expect(await waitingBuild(db, buildId)).toMatchObject({
        waitsFor: 'No Docker engine answers.',
      });
    await db.execute(sql`UPDATE builds SET retry_at = now() + interval '1 hour' WHERE status = 'QUEUED'`);
    const live = await here.start({ owner: 'live' });
    for (const { id, buildId } of made) {
      expect(await buildIn(db, buildId, 'COMPLETED')).toMatchObject({ error: null, waitsFor: null });
      await here.job(id, 'COMPLETED');
    }
    await Promise.all([...workers, live].map((worker) => worker.close()));
  });
});

/** A clock that runs three times as fast. */
function fastClock() {
  const began = { monotonic: performance.now(), wall: Date.now() };
  return () => ({
    monotonic: began.monotonic + 3 * (performance.now() - began.monotonic),
    wall: began.wall + 3 * (Date.now() - began.wall),
  });
}
