import { setTimeout } from 'node:timers/promises';
import { enableAlertChannel } from '../../db/alert-channels/channels.ts';
import { expireTest, queueTest, resendDelivery } from '../../db/alert-channels/deliveries.ts';
import { alertDeliveriesOf } from '../../db/alert-channels/lookup.ts';
import type { AlertDeliveryRow } from '../../db/schema.ts';
import type { AlertChannelConfig } from '../../domain/alerts/config.ts';
import { isId } from '../../domain/ids.ts';
import { ALERT_TESTS_PER_USER_PER_MINUTE } from '../../domain/limits.ts';
import { countAttempt } from '../auth/attempts.ts';
import type { Services } from '../context.ts';
import { orNotFound } from '../errors.ts';
import { AlertChannel, AlertDelivery } from './alert-channel.ts';
import { mutation, type SignedInCall } from './mutation.ts';
import { invalid, notFound, refused, type UserErrorShape } from './user-error.ts';

const LIMIT_DESCRIPTION = `At most ${ALERT_TESTS_PER_USER_PER_MINUTE} tests a minute: then RATE_LIMITED.`;

mutation('testAlertChannel', 'WRITE', {
  description: `Sends a test to a channel, once, and answers with its outcome after at most 40 seconds. ${LIMIT_DESCRIPTION}`,
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the channel.' }) }),
  payload: {
    delivery: { type: AlertDelivery, description: 'The test: DELIVERED, or not, with the `error`.' },
  },
  resolve: async (call) => {
    const tested = await test(call, { isAudited: true });
    return 'userErrors' in tested ? tested : { delivery: tested.delivery };
  },
});

mutation('enableAlertChannel', 'WRITE', {
  description: `Tests a DISABLED channel, and makes it ACTIVE if the test is delivered. What was not sent meanwhile stays so: \`resendAlertDelivery\` sends it. Enabling an ACTIVE channel changes nothing. ${LIMIT_DESCRIPTION}`,
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the channel.' }) }),
  payload: { alertChannel: { type: AlertChannel, description: 'The channel.' } },
  resolve: async (call) => {
    const { input, viewer, context, change } = call;
    const present = await context.load.alertChannel(input.id);
    if (present?.state === 'ACTIVE') return { alertChannel: present };
    const tested = await test(call, { isAudited: false });
    if ('userErrors' in tested) return tested;
    const { delivery, config } = tested;
    if (delivery.status !== 'DELIVERED')
      return conflict(
        `The channel stays disabled, because its test failed: ${delivery.lastError ?? 'it was not sent.'}`,
      );
    const key = { userId: viewer.user.id, id: delivery.channelId };
    const enabled = await change(
      (tx) => enableAlertChannel(tx, { ...key, config }),
      (channel) => channel?.id,
    );
    if (enabled) return { alertChannel: enabled };
    const now = await context.load.alertChannel(key.id);
    if (now?.state === 'ACTIVE') return { alertChannel: now };
    return conflict('The channel was changed while it was tested: call this again.');
  },
});

type Tested = { delivery: AlertDeliveryRow; config: AlertChannelConfig } | { userErrors: UserErrorShape[] };

/** Sends a test, and waits for its outcome. `isAudited`: the test itself is the change. */
async function test(
  { input, viewer: { user }, context, change }: SignedInCall<{ id: string }>,
  { isAudited }: { isAudited: boolean },
): Promise<Tested> {
  const { load, services, client } = context;
  const channel = await load.alertChannel(input.id);
  if (channel === undefined) return notFound('alert channel');
  if (channel.state === 'UNCONFIRMED') return UNCONFIRMED;
  await countAttempt(services, `alert-tests:${user.id}`, ALERT_TESTS_PER_USER_PER_MINUTE, 60);
  const queued = await change(
    (tx) => queueTest(tx, { userId: user.id, id: channel.id }),
    ({ outcome }) => (isAudited && outcome === 'QUEUED' ? channel.id : undefined),
  );
  if (queued.outcome === 'NOT_FOUND') return notFound('alert channel');
  if (queued.outcome !== 'QUEUED') return UNCONFIRMED;
  client.endTurn?.();
  const { deliveryId, config } = queued;
  return { delivery: await outcomeOf(services, { userId: user.id, deliveryId }), config };
}

const UNCONFIRMED = conflict('The address of the channel is not confirmed: call confirmAlertChannel first.');

/**
 * Longer than a worker takes that is there: it looks twice a second, and an attempt may take 15 s.
 */
const TEST_MS = 40_000;
const POLL_MS = 250;

/** How a test has ended. If no worker takes it in time, nobody sends it any more. */
async function outcomeOf(
  { pool, settings: { alertTestMs = TEST_MS } }: Services,
  { userId, deliveryId }: { userId: string; deliveryId: string },
): Promise<AlertDeliveryRow> {
  const read = async () => orNotFound((await alertDeliveriesOf(pool, userId, [deliveryId]))[0]);
  const deadline = performance.now() + alertTestMs;
  while (performance.now() < deadline) {
    const delivery = await read();
    if (delivery.status !== 'PENDING') return delivery;
    await setTimeout(Math.min(POLL_MS, alertTestMs));
  }
  await expireTest(pool, deliveryId, `No alerting worker took it within ${alertTestMs / 1_000} s.`);
  return read();
}

mutation('resendAlertDelivery', 'WRITE', {
  description:
    'Sends an alert again under the same id, whatever has become of it. The channel must be ACTIVE. An alert that is PENDING stays as it is.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the delivery.' }) }),
  payload: { delivery: { type: AlertDelivery, description: 'The delivery, which is PENDING now.' } },
  resolve: async ({ input, viewer: { user }, change }) => {
    const id = input.id.toLowerCase();
    if (!isId(id)) return notFound('delivery');
    const resent = await change(
      (tx) => resendDelivery(tx, { userId: user.id, id }),
      ({ outcome }) => (outcome === 'QUEUED' ? id : undefined),
    );
    switch (resent.outcome) {
      case 'QUEUED':
        return { delivery: resent.delivery };
      case 'NOT_FOUND':
        return notFound('delivery');
      case 'NO_ALERT':
        return invalid([
          {
            path: ['id'],
            message: 'Tests and codes are not sent again: call testAlertChannel, or confirmAlertChannel without code.',
          },
        ]);
      case 'CHANNEL_DELETED':
        return conflict('The channel of this delivery was deleted.');
      case 'CHANNEL_NOT_ACTIVE':
        return conflict(
          resent.state === 'DISABLED'
            ? 'The channel is disabled: call enableAlertChannel first.'
            : 'The address of the channel is not confirmed: call confirmAlertChannel first.',
        );
    }
  },
});

function conflict(message: string): { userErrors: UserErrorShape[] } {
  return refused({ code: 'CONFLICT', message, path: ['id'] });
}
