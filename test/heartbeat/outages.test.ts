import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { beginOutage } from '../../db/alerts/outages.ts';
import { connect } from '../../db/client.ts';
import { outages, users } from '../../db/schema.ts';
import { newSigningSecret } from '../../domain/alerts/config.ts';
import { DEFAULT_ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { startAlerting } from '../../workers/alerting/worker.ts';
import { type Connectivity, createConnectivity } from '../../workers/execution/network/connectivity.ts';
import { createOutageRecorder } from '../../workers/execution/network/outages.ts';
import { stub } from '../alerting/messages.ts';
import { channel, storyOf } from '../alerting/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { proxyTo } from '../support/proxy.ts';
import { memoryParts, quiet } from '../support/workers.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
  ann = await testUser(database.db, 'ann');
  await database.db.update(users).set({ administrator: true }).where(eq(users.id, ann));
});
beforeEach(async () => {
  await database.db.execute(sql`TRUNCATE outages, alert_channels, alert_deliveries, alert_due CASCADE`);
});
afterAll(() => database.close());

const rows = () => database.db.select().from(outages).orderBy(outages.id);
const storedEnds = async () => (await rows()).map(({ resolution }) => resolution);

function recorder(db = database.db) {
  const made = createOutageRecorder({ db, log: quiet, host: 'machine' });
  onTestFinished(() => made.close(AbortSignal.abort()));
  return made;
}

/** An execution worker's view of the network, whose time passes by `clock`. */
function worker(clock = { now: 0 }, outages = recorder()) {
  const connectivity = createConnectivity({ outages, now: () => clock.now });
  // Nobody accepts at this port when the worker asks whether the host is still there.
  const reach = () => connectivity.begin('ann', '198.51.100.1').reached({ host: '127.0.0.1', port: 1 });
  return { connectivity, clock, reach, outages };
}

/** Checks of five hosts fail at once. */
async function fail(connectivity: Connectivity): Promise<void> {
  for (let n = 1; n <= 5; n += 1) connectivity.begin('ann', `198.51.100.${n}`).failed();
  for (let n = 1; n <= 5; n += 1) {
    const fault = await connectivity.fault({ addresses: [`198.51.100.${n}`], since: performance.now() });
    if (fault === undefined) throw new Error('The hosts are at fault.');
    connectivity.report(fault);
  }
}

describe('a network that does not work', () => {
  test('is alerted once when it begins, and once when it works for ten seconds', async () => {
    const { db } = database;
    const receiver = await stub();
    const secrets = [newSigningSecret()];
    const ops = await channel(db, ann, {
      events: [...DEFAULT_ALERT_EVENTS],
      target: { kind: 'WEBHOOK', url: receiver.url, secrets },
    });
    const alerting = await startAlerting(memoryParts(db));
    onTestFinished(() => alerting.close());
    const received = () => receiver.received.map(({ body }) => JSON.parse(body));

    const { connectivity, clock, reach } = worker();
    reach();
    await fail(connectivity);
    await expect.poll(received, { timeout: 10_000 }).toHaveLength(1);
    expect(received()[0]).toMatchObject({
      type: 'platform.outage',
      data: {
        title: 'The network of machine does not work',
        workflow: null,
        outage: { kind: 'NETWORK', host: 'machine', engineId: null, endedAt: null },
      },
    });
    clock.now += 9_000;
    reach();
    await fail(connectivity);
    clock.now += 9_000;
    reach();
    clock.now += 2_000;
    reach();
    await expect.poll(received, { timeout: 10_000 }).toHaveLength(2);
    expect(received()[1]).toMatchObject({
      type: 'platform.recovered',
      data: { title: 'The network of machine works again', outage: { resolution: 'RECOVERED' } },
    });
    await expect.poll(() => storyOf(db, ops)).toEqual(['PLATFORM_OUTAGE DELIVERED', 'PLATFORM_RECOVERED DELIVERED']);
    expect(await storedEnds()).toEqual(['RECOVERED']);
  });

  test('is one outage for all workers of its machine', async () => {
    const both = [worker(), worker()];
    await Promise.all(both.map(({ connectivity }) => fail(connectivity)));
    await Promise.all(both.map(({ outages }) => outages.close()));
    expect(await storedEnds()).toEqual([null]);
  });

  test('works again for a worker that starts later, when that reaches a first host', async () => {
    await beginOutage(database.db, { kind: 'NETWORK', place: 'machine', host: 'machine', detail: 'No host.' });
    const { reach } = worker();
    reach();
    await expect.poll(storedEnds).toEqual(['RECOVERED']);
  });
});

describe('outages while the database is away', () => {
  /** A connection that a test can cut. */
  async function cuttable() {
    const url = new URL(database.url);
    const proxy = await proxyTo(url.hostname, Number(url.port));
    url.host = `127.0.0.1:${proxy.port}`;
    const connection = connect(url.href, { max: 1, application: 'chronoverse-test' });
    onTestFinished(async () => {
      await connection.close();
      await proxy.close();
    });
    return { proxy, db: connection.db };
  }

  test('are stored when it is back, with the times at which they began and ended', async () => {
    const { proxy, db } = await cuttable();
    const { begun, ended, close } = recorder(db);
    proxy.cut();
    begun('This machine reaches no host');
    ended();
    begun('Every name server fails');
    proxy.restore();
    await close();
    const [first, second, ...more] = await rows();
    expect(first).toMatchObject({ detail: 'This machine reaches no host.', resolution: 'RECOVERED' });
    expect(second).toMatchObject({ detail: 'Every name server fails.', endedAt: null });
    expect(more).toEqual([]);
  });

  test('are one if very many begin and end', async () => {
    const { proxy, db } = await cuttable();
    const { begun, ended, close } = recorder(db);
    proxy.cut();
    for (let n = 0; n < 10_000; n += 1) {
      begun('This machine reaches no host');
      ended();
    }
    proxy.restore();
    await close();
    expect(await storedEnds()).toEqual(['RECOVERED']);
  });

  test('hold up a worker that stops until its deadline, not longer', async () => {
    const { proxy, db } = await cuttable();
    const { begun, close } = recorder(db);
    proxy.cut();
    begun('This machine reaches no host');
    await close(AbortSignal.timeout(300));
    expect(await rows()).toEqual([]);
  });
});
