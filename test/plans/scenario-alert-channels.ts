import { eq, sql } from 'drizzle-orm';
import * as channels from '../../db/alert-channels/channels.ts';
import * as deliveries from '../../db/alert-channels/deliveries.ts';
import * as lookup from '../../db/alert-channels/lookup.ts';
import { chooseAlertChannels } from '../../db/alerts/workflow-channels.ts';
import { array } from '../../db/arrays.ts';
import type { Db } from '../../db/client.ts';
import { alertChannels, alertDeliveries } from '../../db/schema.ts';
import { muteWorkflow, unmuteWorkflow } from '../../db/workflows/mute.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { NO_ID, newId } from '../../domain/ids.ts';
import { DAY_MS } from '../../domain/limits.ts';
import { queueDeliveries } from '../alerting/support.ts';
import { testUser } from '../support/database.ts';
import { type Drive, HEARTBEAT, idsOf, make, SET } from './scenario-rows.ts';

/** What owners do with channels, and what is shown of these. */
export async function alertChannelsOf(db: Db, drive: Drive): Promise<void> {
  const userId = await testUser(db, 'alerting');
  const config = { shown: 'shown', sealed: { url: 'sealed' } };
  const given = { userId, name: 'ops', config, events: ['JOB_FAILED' as const], isDefault: true, includeLog: true };
  const ids: string[] = [];
  for (let n = 0; n < SET; n++) {
    const isEmail = n % 2 === 1;
    const kind = isEmail ? 'EMAIL' : 'WEBHOOK';
    const id = newId();
    ids.unshift(id);
    await drive(channels.createAlertChannel, db, { ...given, id, kind, code: isEmail ? 'sealed' : undefined });
  }
  const [email = '', webhook = '', other = ''] = ids;
  await drive(channels.sendCode, db, { userId, id: email, code: 'sealed' });
  for (const isRight of [false, true])
    await drive(channels.confirmAlertChannel, db, { userId, id: email, isRight: () => isRight });
  const from = () => ({ ...config, shown: 'other' });
  await drive(channels.updateAlertChannel, db, { userId, id: webhook, name: 'two', isDefault: false });
  const target = { kind: 'EMAIL' as const, from, code: 'sealed' };
  await drive(channels.updateAlertChannel, db, { userId, id: other, events: ['JOB_COMPLETED'], target });
  await drive(channels.rotateChannelSecret, db, { userId, id: webhook, from });
  const disabled = { state: 'DISABLED' as const, disabledReason: 'It is gone.' };
  await db.update(alertChannels).set(disabled).where(eq(alertChannels.id, webhook));
  await drive(channels.enableAlertChannel, db, { userId, id: webhook, config: from() });

  const own = await make(db, userId, HEARTBEAT);
  const workflowIds = idsOf(own);
  const [first = '', ...others] = workflowIds;
  const choice = { alertAfterFailures: 2, alertChannelIds: [webhook, email] };
  await drive(updateWorkflow, db, { userId, id: first, ...choice });
  for (const id of others) await updateWorkflow(db, { userId, id, ...choice });
  await db.transaction((tx) => drive(chooseAlertChannels, tx, { userId, workflowId: first, channelIds: [webhook] }));
  await drive(muteWorkflow, db, { userId, id: first, until: new Date(Date.now() + DAY_MS) });
  await drive(unmuteWorkflow, db, { userId, id: first });

  const queued = await queueDeliveries(db, { channelId: webhook, userId, count: SET });
  const tested = await drive(deliveries.queueTest, db, { userId, id: webhook });
  if (tested.outcome === 'QUEUED') await drive(deliveries.expireTest, db, tested.deliveryId, 'No worker took it.');
  const [again = ''] = queued;
  await db.execute(sql`DELETE FROM alert_due WHERE delivery_id = ${again}`);
  await db.update(alertDeliveries).set({ status: 'FAILED' }).where(eq(alertDeliveries.id, again));
  await drive(deliveries.resendDelivery, db, { userId, id: again });
  await db.transaction((tx) => drive(deliveries.queueMessage, tx, { id: webhook, userId }, 'TEST'));

  await drive(lookup.alertChannelsOf, db, userId, ids);
  await drive(lookup.listAlertChannels, db, [userId]);
  await drive(lookup.ownAlertChannels, db, workflowIds);
  await drive(lookup.alertDeliveriesOf, db, userId, queued.toReversed());
  for (const status of [undefined, 'PENDING' as const]) {
    for (const after of [undefined, queued.at(-1)])
      await drive(lookup.listDeliveriesByChannel, db, ids, { status, count: 3, after });
    await drive(lookup.countDeliveriesByChannel, db, ids, { status, max: 10 });
  }
  await drive(lookup.incidentsOf, db, userId, [NO_ID]);
  await drive(lookup.openIncidents, db, workflowIds);

  await drive(channels.deleteAlertChannel, db, { userId, id: webhook });
  await drive(channels.changeChannelSecrets, db, (sealed) => `${sealed} again`);
  // They would come into the passes of another part.
  await db.execute(sql`DELETE FROM alert_due WHERE channel_id = ANY(${array(ids, 'uuid')})`);
}
