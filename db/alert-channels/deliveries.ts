import { and, eq, sql } from 'drizzle-orm';
import type { AlertChannelConfig } from '../../domain/alerts/config.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import { named } from '../named.ts';
import { type AlertChannelRow, type AlertDeliveryRow, alertChannels, alertDeliveries } from '../schema.ts';
import { alertDeliveriesOf } from './lookup.ts';

/** Deliveries that an owner asks for: tests, codes, and what is sent again. */

type Tx = Pick<Db, 'execute'>;

/**
 * Queues a message to a locked channel. A test waits for nothing. Returns the id of the delivery.
 */
export async function queueMessage(
  tx: Tx,
  { id, userId }: Pick<AlertChannelRow, 'id' | 'userId'>,
  event: 'TEST' | 'CONFIRMATION',
): Promise<string> {
  const [row] = await tx.execute<{ id: string }>(sql`
    WITH /* queueMessage */ made AS (
      INSERT INTO alert_deliveries (id, channel_id, user_id, event, status) VALUES (${NEW_ID}, ${id}, ${userId}, ${event}, 'PENDING')
      RETURNING id, channel_id
    )
    INSERT INTO alert_due (delivery_id, channel_id, is_urgent) SELECT id, channel_id, ${event === 'TEST'} FROM made RETURNING delivery_id AS id`);
  if (row === undefined) throw new Error('An insert returned no row.');
  return row.id;
}

export type TestQueued =
  /** `config` is where the test goes. */
  { outcome: 'QUEUED'; deliveryId: string; config: AlertChannelConfig } | { outcome: 'NOT_FOUND' | 'UNCONFIRMED' };

/** Queues a test of a channel that is confirmed. A worker sends it within seconds, and once. */
export function queueTest(db: Db, { userId, id }: { userId: string; id: string }): Promise<TestQueued> {
  return db.transaction(async (tx): Promise<TestQueued> => {
    const found = await lockPresent(tx, { userId, id });
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.state === 'UNCONFIRMED') return { outcome: 'UNCONFIRMED' };
    return { outcome: 'QUEUED', deliveryId: await queueMessage(tx, found, 'TEST'), config: found.config };
  });
}

async function lockPresent(
  tx: Pick<Db, 'select'>,
  { userId, id }: { userId: string; id: string },
): Promise<AlertChannelRow | undefined> {
  const [row] = await named(
    'lockPresent',
    tx
      .select()
      .from(alertChannels)
      .where(and(eq(alertChannels.id, id), eq(alertChannels.userId, userId), sql`${alertChannels.deletedAt} IS NULL`))
      .for('no key update'),
  );
  return row;
}

/** PENDING -> EXPIRED for a test that no worker has taken. One that a worker has ended stays so. */
export async function expireTest(db: Db, deliveryId: string, because: string): Promise<void> {
  await db.execute(sql`
    WITH /* expireTest */ gone AS (
      DELETE FROM alert_due WHERE delivery_id = ${deliveryId} RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'EXPIRED', last_error = ${because} FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

export type Resent =
  | { outcome: 'QUEUED'; delivery: AlertDeliveryRow }
  | { outcome: 'NOT_FOUND' | 'NO_ALERT' | 'CHANNEL_DELETED' }
  | { outcome: 'CHANNEL_NOT_ACTIVE'; state: AlertChannelRow['state'] };

/**
 * Any status -> PENDING, under the same id, so that the receiver knows it again. One that is
 * PENDING stays as it is. NO_ALERT: tests and codes are not sent again.
 */
export function resendDelivery(db: Db, { userId, id }: { userId: string; id: string }): Promise<Resent> {
  return db.transaction(async (tx): Promise<Resent> => {
    const [asked] = await alertDeliveriesOf(tx, userId, [id]);
    if (asked === undefined) return { outcome: 'NOT_FOUND' };
    if (asked.event === 'TEST' || asked.event === 'CONFIRMATION') return { outcome: 'NO_ALERT' };
    const channel = await lockPresent(tx, { userId, id: asked.channelId });
    if (channel === undefined) return { outcome: 'CHANNEL_DELETED' };
    if (channel.state !== 'ACTIVE') return { outcome: 'CHANNEL_NOT_ACTIVE', state: channel.state };
    await tx.execute(sql`
      WITH /* resendDelivery */ again AS (
        UPDATE alert_deliveries SET status = 'PENDING', delivered_at = NULL WHERE id = ${id} AND status <> 'PENDING' RETURNING id, channel_id
      )
      INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM again`);
    // Its owner believes that the channel works now.
    await tx.execute(sql`UPDATE /* resendDelivery */ alert_channels SET retry_at = NULL WHERE id = ${channel.id}`);
    const [delivery] = await named(
      'resendDelivery',
      tx.select().from(alertDeliveries).where(eq(alertDeliveries.id, id)),
    );
    return delivery ? { outcome: 'QUEUED', delivery } : { outcome: 'NOT_FOUND' };
  });
}
