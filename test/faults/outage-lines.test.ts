import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { cleanUp, type Running } from '../support/processes.ts';
import { hasCommand, type OwnServer, ownBroker, ownEngine } from '../support/servers.ts';
import { untilSlow } from '../support/time.ts';
import { printer } from './printer.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

/** Longer than consumers try before they are made anew, which logs too. */
const AWAY_MS = 70_000;
/** What was under way may fail, or work again, this long after a server is back. */
const LATE_MS = 20_000;
const RUN_EVERY_MS = 5_000;

const untested = 'the log of an outage of Kafka or of the Docker engine';
const servers = requireServers(untested);
const hasAll = servers !== undefined && (await hasCommand('java', untested)) && (await hasCommand('dockerd', untested));
describe.skipIf(servers === undefined || !hasAll).concurrent('the log of a server at level info', () => {
  const opened: (() => Promise<void>)[] = [];
  afterAll(async () => {
    await cleanUp();
    for (const close of opened.toReversed()) await close();
  });

  /** The real servers, with one of their own that can be killed. */
  async function withOwn(part: 'kafka' | 'docker', server: OwnServer): Promise<{ here: Installation; up: Running }> {
    opened.push(server.close);
    await server.start();
    if (servers === undefined) throw new Error('The tests are skipped without servers.');
    const here = await openInstallation({ ...servers, [part]: server.address });
    opened.push(here.close);
    const up = here.start('up');
    await up.ready();
    return { here, up };
  }

  /**
   * What is logged while a container prints, from the moment at which a server goes until long
   * after it is back.
   */
  async function linesOf({ here, up }: { here: Installation; up: Running }, server: OwnServer): Promise<unknown[]> {
    const workflowId = await here.create(printer(0));
    await here.job(workflowId, 'RUNNING');
    // A broker that has just started may not have all its parts yet, which is an outage of its own.
    const count = (what: RegExp) => up.log.filter(({ msg }) => what.test(String(msg))).length;
    await untilSlow('no outage is under way', async () => count(/^Kafka cannot be/) === count(/^Kafka can be used/));
    const begun = up.log.length;
    await server.kill();
    for (let ms = 0; ms < AWAY_MS; ms += RUN_EVERY_MS) {
      await here.run(workflowId);
      await delay(RUN_EVERY_MS);
    }
    await server.start();
    await delay(LATE_MS);
    return up.log.slice(begun).map(({ msg }) => msg);
  }

  test('an outage of Kafka is one line when it begins and one when it ends, while a container prints', async () => {
    const broker = await ownBroker();
    expect(await linesOf(await withOwn('kafka', broker), broker)).toEqual([
      'Kafka cannot be reached. What needs it waits and goes on by itself.',
      'Kafka can be used again.',
    ]);
  }, 200_000);

  test('so is an outage of the Docker engine, beside the lines about what it lost', async () => {
    const engine = await ownEngine({ liveRestore: false });
    const lines = await linesOf(await withOwn('docker', engine), engine);
    expect(lines.filter((msg) => !/lost with its engine|A job failed|looked after/.test(String(msg)))).toEqual([
      'No Docker engine answers: jobs and builds of CONTAINER workflows wait for one.',
      'The Docker engine answers.',
    ]);
  }, 200_000);
});
