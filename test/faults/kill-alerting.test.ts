import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alertDeliveries, alertDue } from '../../db/schema.ts';
import { newSigningSecret, sealTarget } from '../../domain/alerts/config.ts';
import { newId } from '../../domain/ids.ts';
import { createSealer } from '../../platform/sealer.ts';
import { channel, deliveriesOf, letQueuesPass, queueDeliveries } from '../alerting/support.ts';
import { testUser } from '../support/database.ts';
import { cleanUp, type Running } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { randomOf } from './random.ts';
import { type Installation, openInstallation, requireServers } from './support.ts';

const KILLS = Number(process.env.FAULTS_KILLS ?? 50);
/**
 * A killed worker keeps its channels until its leases end. So several die before that is simulated.
 */
const AT_ONCE = 5;
const CHANNELS = 12;
const PER_ROUND = 8;
/**
 * From when a receiver has a message until the worker knows: the time in which most kills strike.
 */
const ANSWER_MS = 40;
const WORKING_MS_MAX = 400;
const LEASE_SECONDS = 31;

interface Received {
  id: string;
  type: string;
  path: string;
  body: string;
}

const servers = requireServers('alerts while their worker is killed');
describe.skipIf(servers === undefined)('an alerting worker that is killed', () => {
  let here: Installation;
  const received: Received[] = [];
  const secret = newSigningSecret();
  const wrong: unknown[] = [];
  const receiver = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('error', () => undefined); // the sender was killed
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      const header = (name: string) => String(request.headers[name]);
      const id = header('webhook-id');
      try {
        new Webhook(secret).verify(body, {
          'webhook-id': id,
          'webhook-timestamp': header('webhook-timestamp'),
          'webhook-signature': header('webhook-signature'),
        });
      } catch (error) {
        wrong.push(error);
      }
      received.push({ id, type: JSON.parse(body).type, path: String(request.url), body });
      setTimeout(() => response.end(), ANSWER_MS);
    });
  });

  beforeAll(async () => {
    if (servers === undefined) return;
    here = await openInstallation(servers, { env: { ALERT_ALLOW: 'loopback' } });
    await once(receiver.listen(0, '127.0.0.1'), 'listening');
  });
  afterAll(async () => {
    await cleanUp();
    receiver.close();
    await here?.close();
  });

  test(`P13: at ${KILLS} random instants: no alert is lost, each repeat has the same id, and the order stays`, async () => {
    const { db } = here.database;
    const random = randomOf('kills of alerting workers');
    const userId = await testUser(db, 'alerted');
    const sealer = createSealer(Buffer.alloc(32));
    const channelIds = await Promise.all(
      Array.from({ length: CHANNELS }, async (_, n) => {
        const id = newId();
        const { port } = receiver.address() as AddressInfo;
        const target = { kind: 'WEBHOOK', url: `http://127.0.0.1:${port}/${n}`, secrets: [secret] } as const;
        return channel(db, userId, { id, target, config: sealTarget(sealer, id, target, 'shown') });
      }),
    );
    const recorded = new Map<string, string[]>(channelIds.map((id) => [id, []]));
    const record = async () => {
      for (const channelId of channelIds)
        recorded.get(channelId)?.push(...(await queueDeliveries(db, { channelId, userId, count: PER_ROUND })));
    };
    let kills = 0;
    while (kills < KILLS) {
      await record();
      const workers = Array.from({ length: Math.min(AT_ONCE, KILLS - kills) }, () => here.start('worker', 'alerting'));
      await Promise.all(workers.map((worker) => worker.ready()));
      await Promise.all(
        workers.map(async (worker: Running) => {
          await delay(random() * WORKING_MS_MAX);
          await worker.kill('SIGKILL');
        }),
      );
      kills += workers.length;
      await letQueuesPass(db, LEASE_SECONDS, userId);
    }
    const last = here.start('worker', 'alerting');
    await last.ready();
    await untilSlow('everything is sent', async () => (await db.$count(alertDue)) === 0);
    expect(await last.kill('SIGTERM')).toEqual({ code: 0, signal: null });

    expect(wrong).toEqual([]);
    const all = await db.select().from(alertDeliveries);
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set(['DELIVERED']));
    const repeats = received.length - all.length;
    console.info(`${all.length} alerts, ${repeats} of them sent again`);
    expect(repeats).toBeGreaterThan(0); // some kills came between sending and recording
    const bodies = new Map<string, string>();
    for (const { id, body } of received) {
      const { data } = JSON.parse(body);
      expect(data.deliveryId).toBe(id);
      const before = bodies.get(id);
      if (before !== undefined) expect(data.workflow).toEqual(JSON.parse(before).data.workflow);
      bodies.set(id, body);
    }
    for (const [n, channelId] of channelIds.entries()) {
      const firsts = [...new Set(received.filter(({ path }) => path === `/${n}`).map(({ id }) => id))];
      expect(firsts).toEqual((await deliveriesOf(db, channelId)).map(({ id }) => id));
      expect(firsts).toEqual(recorded.get(channelId));
    }
  }, 500_000);
});
