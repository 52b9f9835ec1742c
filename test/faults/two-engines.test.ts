import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { letGo, printed, UNTIL_LET_GO_PRINT } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { type Running, startProcess } from '../support/processes.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { untilSlow } from '../support/time.ts';
import { IMAGE, type Installation, isReady, openInstallation, requireServers } from './support.ts';

const untested = 'killed workflow workers with an engine each';
const servers = requireServers(untested);
const isHere = servers !== undefined && requirePart('docker', untested) !== undefined && process.getuid?.() === 0;
const canStart = isHere && (await hasCommand('dockerd', untested));

describe.skipIf(!canStart || servers === undefined)('workflow workers with an engine each', () => {
  const engines: OwnServer[] = [];
  let here: Installation;
  let rest: Running;
  const workers: Running[] = [];

  beforeAll(async () => {
    if (servers === undefined) throw new Error('The servers are missing.');
    for (const _ of [1, 2]) engines.push(await ownEngine({ liveRestore: false }));
    await Promise.all(engines.map((engine) => engine.start()));
    const env = { LOCAL_IMAGES: '*', REGISTRY_ALLOW: 'public,private,loopback' };
    here = await openInstallation({ ...servers, docker: engines[0]?.address ?? '' }, { env });
    rest = here.start('worker', 'scheduling', 'joblogs', 'execution');
    for (const n of [0, 1]) workers.push(startWorker(n));
    for (const one of [rest, ...workers]) await isReady(one);
  }, 120_000);
  afterAll(async () => {
    for (const one of [rest, ...workers]) await one?.kill('SIGTERM');
    await here?.close();
    for (const engine of engines) await engine.close();
  }, 120_000);

  const startWorker = (n: number) =>
    startProcess(['worker', 'workflow'], { ...here.settings, DOCKER_HOST: engines[n]?.address ?? '' });

  async function makeImage(n: number, name: string): Promise<void> {
    const client = new Docker({ socketPath: engines[n]?.address.slice('unix://'.length) });
    const container = await client.createContainer({ Image: IMAGE, Cmd: ['true'], Labels: { name } });
    await container.commit({ repo: name, tag: '1' });
    await container.remove();
  }

  test('P4: a killed worker leaves its jobs to the next worker on its engine: running ones go on, waiting ones wait, and none fails', async () => {
    for (const n of [0, 1]) {
      await makeImage(n, `of${n}`);
      const id = await here.create({
        kind: 'CONTAINER',
        image: `of${n}:1`,
        command: ['sh', '-c', UNTIL_LET_GO_PRINT],
        network: 'NONE',
      });
      const job = await here.job(id, 'RUNNING');
      await untilSlow('it prints', async () => (await here.progress(job.id)).stored > 0);
      expect(await workers[n]?.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
      const waits = await here.create({
        kind: 'CONTAINER',
        image: `of${n}:1`,
        command: ['echo', 'ran'],
        network: 'NONE',
      });
      const next = startWorker(n);
      workers[n] = next;
      await isReady(next);
      await letGo(engines[n]?.address, containerName({ id: job.id, attempt: 1 }));
      expect(await here.job(id, 'ENDED')).toMatchObject({ status: 'COMPLETED', attempt: 1 });
      const texts = (await here.lines(job.id)).map(({ text }) => text);
      expect(texts).toEqual(printed(texts.length));
      expect(await here.job(waits, 'ENDED')).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    }
  }, 240_000);
});
