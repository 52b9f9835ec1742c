import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SHUTDOWN_SECONDS_MAX } from '../../bin/shutdown.ts';
import { cleanUp } from '../support/processes.ts';
import { type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { hasCommand, type OwnServer, ownBroker } from '../support/servers.ts';
import { untilSlow } from '../support/time.ts';
import { printer } from './printer.ts';
import { type Followed, follow, nothingYet } from './subscriber.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

/** Added to the limit itself: the time for the exit of the process on a busy machine. */
const EXIT_SECONDS = 3;

const untested = 'a shutdown while everything hangs';
const servers = requireServers(untested);
const hasJava = servers !== undefined && (await hasCommand('java', untested));
describe.skipIf(servers === undefined || !hasJava)('a process that is stopped while everything hangs', () => {
  let broker: OwnServer;
  let engine: RefusingEngine;
  let here: Installation;
  beforeAll(async () => {
    if (servers === undefined || !hasJava) return;
    broker = await ownBroker();
    await broker.start();
    engine = await refusingEngine(servers.docker);
    const env = { DOCKER_HOST: engine.host };
    here = await openInstallation({ ...servers, kafka: broker.address }, { env });
  });
  afterAll(async () => {
    await cleanUp();
    await here?.close();
    await engine?.close();
    await broker?.close();
  });

  /**
   * `up` with a container that prints, a stream that follows it, a client in the middle of a
   * request, and a silent engine.
   */
  async function hanging(): Promise<{ jobId: string; followed: Followed; secondsToStop: () => Promise<number> }> {
    engine.refuse = undefined;
    const up = here.start('up');
    const url = await up.ready();
    const id = await here.create(printer(0));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const followed = nothingYet();
    // The shutdown cuts this stream.
    follow({ url, token: here.token, jobId, transport: 'WEBSOCKET' }, followed).catch(() => undefined);
    await untilSlow(
      'lines are stored',
      async () => (await here.progress(jobId)).stored > 1_000 && followed.last > 1_000,
    );
    const client = connect({ host: new URL(url).hostname, port: Number(new URL(url).port) });
    client.on('error', () => undefined);
    client.write(
      'POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{',
    );
    engine.refuse = () => 'HANG';
    return {
      jobId,
      followed,
      async secondsToStop() {
        const started = performance.now();
        expect(await up.kill('SIGTERM')).toEqual({ code: 0, signal: null });
        client.destroy();
        return (performance.now() - started) / 1_000;
      },
    };
  }

  test('ends in its time, and has stored every line that a client has seen', async () => {
    const { jobId, followed, secondsToStop } = await hanging();
    expect(await secondsToStop()).toBeLessThan(SHUTDOWN_SECONDS_MAX + EXIT_SECONDS);
    expect(followed.last).toBeGreaterThan(1_000);
    const lines = await here.lines(jobId);
    expect(lines.length).toBeGreaterThanOrEqual(followed.last);
    expect(lines.map(({ number }) => number)).toEqual(lines.map((_, n) => n + 1));
  });

  test('ends in its time without the broker too, and the next process finds the lines', async () => {
    const { jobId, followed, secondsToStop } = await hanging();
    await broker.kill();
    expect(await secondsToStop()).toBeLessThan(SHUTDOWN_SECONDS_MAX + EXIT_SECONDS);
    await broker.start();
    const next = here.start('worker', 'joblogs');
    await next.ready();
    await untilSlow('the lines are stored', async () => (await here.progress(jobId)).stored >= followed.last);
    expect((await here.lines(jobId)).slice(0, followed.last).map(({ number }) => number)).toEqual(
      Array.from({ length: followed.last }, (_, n) => n + 1),
    );
  });
});
