import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { alertChannels, alertDeliveries, alertDue } from '../../db/schema.ts';
import type { AlertDeliveryStatus } from '../../domain/alerts/states.ts';
import { deliveriesOf, queueDeliveries } from '../alerting/support.ts';
import { call, channelRow, createChannel, disable, settleTest } from './alert-support.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

let api: TestApi;
let ann: Person;
let id: string;
beforeAll(async () => {
  api = await testApi({ emailReady: true });
});
beforeEach(async () => {
  ann = await person(api, 'ann');
  id = (await createChannel(api, ann)).alertChannel.id;
});
afterAll(() => api.close());

const DELIVERY = 'delivery { id event status error attempt deliveredAt channel { id } workflow { id } job { id } }';
const run = (channelId = id, at = api, who = ann) => call(at, who, 'testAlertChannel', { id: channelId }, DELIVERY);
const enable = () => call(api, ann, 'enableAlertChannel', { id }, 'alertChannel { state disabledReason }');

describe('a test of an alert channel', () => {
  test.each([
    ['DELIVERED', undefined],
    ['FAILED', 'The server answered with 500.'],
  ] as const)('answers with its outcome %s', async (status, error) => {
    const answering = run();
    await settleTest(api.db, id, status, error);
    const { delivery, userErrors } = await answering;
    expect(userErrors).toEqual([]);
    expect(delivery).toMatchObject({ event: 'TEST', status, error: error ?? null, attempt: 1, channel: { id } });
    expect(delivery).toMatchObject({ workflow: null, job: null });
    expect(delivery.deliveredAt === null).toBe(status !== 'DELIVERED');
  });

  test('expires if no worker takes it, and is sent by none later', async () => {
    const quick = await testApi({ alertTestMs: 500 });
    try {
      const bob = await person(quick, 'bob');
      const own = (await createChannel(quick, bob)).alertChannel.id;
      const { delivery } = await run(own, quick, bob);
      expect(delivery).toMatchObject({ status: 'EXPIRED', error: 'No alerting worker took it within 0.5 s.' });
      expect(await quick.db.select().from(alertDue).where(eq(alertDue.channelId, own))).toEqual([]);
    } finally {
      await quick.close();
    }
  });

  test('is refused before the address is confirmed', async () => {
    const email = await createChannel(api, ann, { target: { email: { address: 'ops@example.com' } } });
    expect((await run(email.alertChannel.id)).userErrors).toMatchObject([{ code: 'CONFLICT', path: ['id'] }]);
  });

  test('can be run five times a minute, those of enableAlertChannel included', async () => {
    for (let n = 0; n < 4; n++) {
      const answering = run();
      await settleTest(api.db, id, 'DELIVERED');
      await answering;
    }
    await disable(api.db, id);
    const enabling = enable();
    await settleTest(api.db, id, 'FAILED', 'no');
    await enabling;
    for (const name of ['testAlertChannel', 'enableAlertChannel'])
      expect(
        codes(await query(api, `mutation { ${name}(input: { id: "${id}" }) { userErrors { code } } }`, ann)),
      ).toEqual(['RATE_LIMITED']);
  });

  test('keeps no turn from the other requests of its owner while it waits', async () => {
    // More than a user may have at once.
    const waiting = Array.from({ length: 20 }, async () => {
      const who = await person(api, 'cid');
      const own = (await createChannel(api, who)).alertChannel.id;
      return { who, own };
    });
    const others = await Promise.all(waiting);
    const tests = others.flatMap(({ who, own }) => Array.from({ length: 5 }, () => run(own, api, who)));
    await expect
      .poll(async () => (await api.db.select().from(alertDue)).length, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(100); // all turns of the process would be taken
    expect((await query(api, '{ viewer { id } }', ann)).data.viewer.id).toBe(ann.id);
    await api.db.execute(sql`
      WITH gone AS (DELETE FROM alert_due RETURNING delivery_id)
      UPDATE alert_deliveries SET status = 'FAILED', last_error = 'no' FROM gone WHERE id = gone.delivery_id`);
    await Promise.all(tests);
  });
});

describe('enabling an alert channel', () => {
  test('needs a test that is delivered', async () => {
    await disable(api.db, id);
    const first = enable();
    await settleTest(api.db, id, 'FAILED', 'The server answered with 410.');
    const { userErrors } = await first;
    expect(userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    expect(userErrors[0].message).toContain('410');
    expect(await channelRow(api.db, id)).toMatchObject({ state: 'DISABLED' });
    const second = enable();
    await settleTest(api.db, id, 'DELIVERED');
    expect(await second).toEqual({ alertChannel: { state: 'ACTIVE', disabledReason: null }, userErrors: [] });
    expect(await channelRow(api.db, id)).toMatchObject({ failureCount: 0, state: 'ACTIVE' });
  });

  test('changes nothing if it is ACTIVE', async () => {
    expect((await enable()).alertChannel).toMatchObject({ state: 'ACTIVE' });
    expect(await deliveriesOf(api.db, id)).toEqual([]);
  });

  test('does not enable a target that was not tested', async () => {
    await disable(api.db, id);
    const enabling = enable();
    await expect.poll(async () => (await deliveriesOf(api.db, id)).length, { timeout: 20_000 }).toBe(1);
    const target = { webhook: { url: 'https://untested.example/' } };
    await call(api, ann, 'updateAlertChannel', { id, target }, 'alertChannel { id }');
    await settleTest(api.db, id, 'DELIVERED');
    expect((await enabling).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    expect(await channelRow(api.db, id)).toMatchObject({ state: 'DISABLED' });
  });
});

describe('sending an alert again', () => {
  const resend = (deliveryId: string | undefined) =>
    call(api, ann, 'resendAlertDelivery', { id: deliveryId }, 'delivery { id status attempt deliveredAt }');

  test.each<AlertDeliveryStatus>(['DELIVERED', 'FAILED', 'EXPIRED', 'SUPPRESSED', 'MERGED'])(
    'queues one that is %s under the same id',
    async (status) => {
      const [deliveryId = ''] = await queueDeliveries(api.db, { channelId: id, userId: ann.id });
      await api.db.delete(alertDue).where(eq(alertDue.deliveryId, deliveryId));
      const deliveredAt = status === 'DELIVERED' ? new Date() : null;
      await api.db
        .update(alertDeliveries)
        .set({ status, attempt: 3, deliveredAt })
        .where(eq(alertDeliveries.id, deliveryId));
      const { delivery } = await resend(deliveryId);
      expect(delivery).toEqual({ id: deliveryId, status: 'PENDING', attempt: 3, deliveredAt: null });
      const due = () => api.db.select().from(alertDue).where(eq(alertDue.channelId, id));
      expect(await due()).toMatchObject([{ deliveryId, isUrgent: false }]);
      const before = await due();
      expect((await resend(deliveryId)).delivery.status).toBe('PENDING');
      expect(await due()).toEqual(before);
    },
  );

  test('is refused for tests, and while the channel takes no alerts', async () => {
    const testing = run();
    await settleTest(api.db, id, 'DELIVERED');
    const { delivery } = await testing;
    expect((await resend(delivery.id)).userErrors).toMatchObject([{ code: 'INVALID', path: ['id'] }]);
    const [deliveryId] = await queueDeliveries(api.db, { channelId: id, userId: ann.id });
    await disable(api.db, id);
    expect((await resend(deliveryId)).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    await api.db.update(alertChannels).set({ deletedAt: new Date() }).where(eq(alertChannels.id, id));
    expect((await resend(deliveryId)).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    const bob = await person(api, 'bob');
    const foreign = await call(api, bob, 'resendAlertDelivery', { id: deliveryId }, 'delivery { id }');
    expect(foreign.userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
  });
});
