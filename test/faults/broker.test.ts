import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cleanUp, type Running } from '../support/processes.ts';
import { hasCommand, type OwnServer, ownBroker } from '../support/servers.ts';
import { untilSlow } from '../support/time.ts';
import { expectNoise, expectWhole, noise, printer } from './printer.ts';
import { randomOf } from './random.ts';
import { expectAll, follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers, residentBytes } from './support.ts';

/**
 * A broker takes seconds to start, and the group members take seconds to return. So there are not
 * 50 kills, but as many as fit into about a minute.
 */
const KILLS = 8;
const KILL_AFTER_MS_MAX = 1_000;
const AWAY_MS = 20_000;
const NOISE_LINES = 80_000; // 80 MB, which gzip compresses to 60
const NOISE_BYTES_WAITING_MAX = 40_000_000;

const untested = 'logs while the Kafka broker is killed';
const servers = requireServers(untested);
const hasJava = servers !== undefined && (await hasCommand('java', untested));
describe.skipIf(servers === undefined || !hasJava)('a Kafka broker that is killed', () => {
  let broker: OwnServer;
  let here: Installation;
  let workers: Running;
  let url: string;
  beforeAll(async () => {
    if (servers === undefined || !hasJava) return;
    broker = await ownBroker();
    await broker.start();
    here = await openInstallation({ ...servers, kafka: broker.address });
    workers = here.start('worker', 'scheduling', 'workflow', 'joblogs');
    await workers.ready();
    url = await here.start('api').ready();
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
    await broker?.close();
  });

  test(`P4: at ${KILLS} random instants while a container prints: no line is missing or repeated, in the store or for subscribers`, async () => {
    const random = randomOf('kills of the broker');
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const followed = nothingYet();
    // One connection, which outlives the outages.
    const following = follow({ url, token: here.token, jobId, transport: 'WEBSOCKET' }, followed);
    following.catch(() => undefined); // reported at the end

    for (let kill = 1; kill <= KILLS; kill += 1) {
      const { stored } = await here.progress(jobId);
      await untilSlow('lines are stored', async () => (await here.progress(jobId)).stored > stored);
      await delay(random() * KILL_AFTER_MS_MAX);
      await broker.kill();
      await broker.start();
    }

    await here.tell(jobId);
    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1, exitCode: 0 });
    const lines = await here.lines(jobId);
    expect(lines).toHaveLength(job.logLineCount);
    expectWhole(lines);
    await following;
    expectAll(followed);
    await here.removed(jobId);
  }, 300_000);

  test(`P4: for ${AWAY_MS / 1_000} s: the container keeps printing, the log collector waits with bounded memory, and nothing is lost`, async () => {
    const id = await here.create(noise(NOISE_LINES, 3));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await untilSlow('it has begun', async () => (await here.progress(jobId)).stored > 0);
    await broker.kill();
    const before = await residentBytes(workers.pid);
    const back = delay(AWAY_MS);
    await here.tell(jobId); // it now begins to print
    await here.containerEnd(jobId); // it prints to the end without waiting
    await back;
    expect(await here.progress(jobId)).toMatchObject({ stored: 1 });
    expect((await residentBytes(workers.pid)) - before).toBeLessThan(NOISE_BYTES_WAITING_MAX);
    await broker.start();

    const job = await here.job(id, 'ENDED');
    expect(job).toMatchObject({ status: 'FAILED', attempt: 1, exitCode: 3, logLineCount: NOISE_LINES + 2 });
    expectNoise(await here.lines(jobId), NOISE_LINES);
  }, 120_000);
});
