import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createDocker } from '../../platform/docker/docker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { bridgeTo } from '../support/engine-bridge.ts';
import { printed, UNTIL_LET_GO, UNTIL_LET_GO_PRINT } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { letPass, until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'container jobs while the engine or the bus is away');
describe.skipIf(host === undefined)('container jobs and outages', () => {
  let here: Installation;
  let bridge: Server;
  let engine: TestProxy;
  let worker: Worker;
  let busIsAway = false;
  beforeAll(async () => {
    here = await openInstallation(host);
    bridge = await bridgeTo(host ?? '');
    engine = await proxyTo('127.0.0.1', (bridge.address() as AddressInfo).port);
    const docker = createDocker({ host: `tcp://127.0.0.1:${engine.port}`, log: quiet });
    const bus: Bus = {
      ...here.parts.bus,
      publish: async (topic, messages) => {
        if (busIsAway && topic === 'job_logs') throw new Error('The bus is away.');
        return here.parts.bus.publish(topic, messages);
      },
    };
    worker = await here.start({ docker, bus });
  });
  afterAll(async () => {
    engine.restore();
    // The worker's sweep removes, within seconds, what could not be removed while the engine was
    // away.
    await until('no container is left', async () => (await here.containers()).length === 0);
    await worker.close();
    await engine.close();
    bridge.close();
    await here.close();
  });

  const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n + 1));
  /** Waits until 40 more lines are stored than these, and returns how many. */
  const morePrinted = (jobId: string, than: number) =>
    until('more lines are stored', async () => {
      const { length } = await storedTexts(here.database.db, jobId);
      return length > than + 40 && length;
    });

  test('P4: an engine that goes away and comes back costs no line and no attempt', async () => {
    const { id } = await here.create({ command: ['sh', '-c', UNTIL_LET_GO_PRINT] });
    const { id: jobId } = await here.job(id, 'RUNNING');
    let lines = 0;
    for (let round = 0; round < 3; round++) {
      lines = await morePrinted(jobId, lines);
      engine.cut();
      await new Promise((resolve) => setTimeout(resolve, 100)); // cuts while the container prints
      engine.restore();
    }
    await here.letGo(jobId);
    const job = await here.job(id, 'COMPLETED');
    expect(job).toMatchObject({ attempt: 1 });
    expect(await storedTexts(here.database.db, jobId)).toEqual(printed(job.logLineCount));
  });

  test('a failure while the engine was away does not count against the workflow: the attempt is lost', async () => {
    const { id } = await here.create({ command: ['sh', '-c', `echo up; ${UNTIL_LET_GO}; exit 1`] });
    const { id: jobId, userId } = await here.job(id, 'RUNNING');
    await until('it prints', async () => (await storedTexts(here.database.db, jobId)).length > 0);
    engine.cut();
    await here.letGo(jobId);
    const container = containerName({ id: jobId, attempt: 1 });
    await here.docker.waitContainer(container, { timeoutMs: 10_000, signal: new AbortController().signal });
    engine.restore();
    await until('its container is removed', async () => (await here.containers()).length === 0);
    expect(await here.job(id, 'PENDING')).toMatchObject({
      id: jobId,
      attempt: 1,
      uncountedAttempts: 0,
      exitCode: null,
    });
    // Its next attempt would wait forever.
    expect(await cancelJob(here.database.db, { userId, id: jobId })).toMatchObject({ outcome: 'CANCELED' });
  });

  test('P4: while the bus is away the log collector waits; nothing is lost, and the job ends when its lines are safe', async () => {
    const { id } = await here.create({ command: ['sh', '-c', `${UNTIL_LET_GO}; seq 1 3000`] });
    const { id: jobId } = await here.job(id, 'RUNNING');
    busIsAway = true;
    await here.letGo(jobId);
    const container = containerName({ id: jobId, attempt: 1 });
    await here.docker.waitContainer(container, { timeoutMs: 10_000, signal: new AbortController().signal });
    expect(await here.job(id, 'RUNNING')).toMatchObject({ id: jobId });
    busIsAway = false;
    expect(await here.job(id, 'COMPLETED')).toMatchObject({ logLineCount: 3_000 });
    expect(await storedTexts(here.database.db, jobId)).toEqual(numbers(3_000));
  });

  test('a job that arrives while no engine answers is not taken, and runs when one does', async () => {
    const { id } = await here.create({ command: ['true'] });
    const { userId } = await here.job(id, 'COMPLETED');
    engine.cut();
    await runWorkflow(here.database.db, { userId, id });
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await here.job(id, 'QUEUED', 1);
    engine.restore();
    await letPass(here.database.db, id, 31);
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    expect(await here.job(id, 'COMPLETED', 1)).toMatchObject({ attempt: 1 });
  });
});
