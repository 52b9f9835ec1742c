import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deleteAlertChannel, updateAlertChannel } from '../../db/alert-channels/channels.ts';
import { claimChannels, nextMessage } from '../../db/alerts/queue.ts';
import { recordAlerts } from '../../db/alerts/record.ts';
import { alertChannels } from '../../db/schema.ts';
import type { OpenAlertTarget } from '../../domain/alerts/alert.ts';
import { heartbeat } from '../scheduling/support.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { channel, deliveriesOf, letQueuesPass } from './support.ts';

let database: TestDatabase;
let ann: string;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  await database.db.execute(sql`TRUNCATE workflows, alert_channels, alert_deliveries, alert_due CASCADE`);
  ann = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

/** Changes a channel after an event has found it, and before the transaction of the event ends. */
async function changedMeanwhile(target: OpenAlertTarget, change: (id: string) => Promise<unknown>): Promise<string> {
  const { db } = database;
  const id = await channel(db, ann, { target });
  const workflow = await heartbeat(db, ann);
  await db.transaction(async (tx) => {
    await recordAlerts(tx, [{ event: 'WORKFLOW_BUILD_FAILED', workflowId: workflow.id }]);
    await change(id);
  });
  await letQueuesPass(db, 11);
  return id;
}

/** The events that a worker would send, and what has become of the rest. */
async function sentOf(id: string) {
  const { db } = database;
  const sent: string[] = [];
  for (const lease of await claimChannels(db, { owner: 'test', limit: 10 })) {
    const message = await nextMessage(db, lease);
    if (typeof message !== 'string') sent.push(message.event);
  }
  const ended = (await deliveriesOf(db, id)).filter(({ event }) => event === 'WORKFLOW_BUILD_FAILED');
  return { sent, ended: ended.map(({ status, lastError }) => `${status}: ${lastError}`) };
}

const webhook: OpenAlertTarget = { kind: 'WEBHOOK', url: 'http://127.0.0.1:1/', secrets: ['whsec_eA=='] };

describe('an alert that is recorded while its channel changes', () => {
  test('does not go to an address that is not confirmed', async () => {
    const id = await changedMeanwhile({ kind: 'EMAIL', address: 'a@example.com' }, (channelId) =>
      updateAlertChannel(database.db, {
        ...{ userId: ann, id: channelId },
        target: { kind: 'EMAIL', code: 'sealed', from: () => ({ shown: 'stranger@example.com', sealed: {} }) },
      }),
    );
    expect(await sentOf(id)).toEqual({
      sent: ['CONFIRMATION'],
      ended: ['FAILED: The address of the channel is not confirmed.'],
    });
  });

  test('does not go to a channel that is deleted', async () => {
    const id = await changedMeanwhile(webhook, (channelId) =>
      deleteAlertChannel(database.db, { userId: ann, id: channelId }),
    );
    expect(await sentOf(id)).toEqual({ sent: [], ended: ['FAILED: The channel was deleted.'] });
  });

  test('does not go to a channel that is disabled', async () => {
    const { db } = database;
    const id = await changedMeanwhile(webhook, (channelId) =>
      db
        .update(alertChannels)
        .set({ state: 'DISABLED', disabledReason: 'It answered 410.' })
        .where(eq(alertChannels.id, channelId)),
    );
    expect(await sentOf(id)).toEqual({ sent: [], ended: ['FAILED: The channel was disabled.'] });
  });
});
