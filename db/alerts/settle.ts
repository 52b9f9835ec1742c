import { type SQL, sql } from 'drizzle-orm';
import type { SendOutcome } from '../../domain/alerts/alert.ts';
import {
  BUSY_SECONDS,
  DELIVERY_HOURS_MAX,
  FAILING_DAYS_MAX,
  FAILURES_MAX,
  REJECTIONS_MAX,
  RETRY_AFTER_SECONDS_MAX,
  retryAfterSeconds,
} from '../../domain/alerts/retry.ts';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import { NEW_ID } from '../ids.ts';
import type { LeaseKey } from '../lease.ts';
import type { NextMessage } from './queue.ts';

type Tx = Pick<Db, 'execute'>;
type Failure = Extract<SendOutcome, { outcome: 'FAILED' }>;

/**
 * Records how an attempt has ended, for every delivery that the message reports. Undefined if the
 * lease is lost: another worker sends the message again, and this changes nothing.
 *
 * A test changes nothing but its own row, unless it is delivered: then the channel works again.
 */
export async function settleMessage(
  db: Db,
  lease: LeaseKey,
  message: Pick<NextMessage, 'channel' | 'deliveryIds' | 'digestId' | 'event'>,
  outcome: SendOutcome,
): Promise<Effects | undefined> {
  return db.transaction(async (tx) => {
    const [channel] = await tx.execute<Channel>(sql`
      SELECT /* settleMessage */ id, user_id, name, kind, state, failure_count, rejection_count,
        coalesce(extract(epoch FROM now() - first_failed_at), 0)::float8 AS failed_for,
        first_failed_at < now() - make_interval(days => ${FAILING_DAYS_MAX}) AS failed_for_days
      FROM alert_channels WHERE id = ${lease.id} AND lease_token = ${lease.leaseToken} FOR NO KEY UPDATE`);
    if (channel === undefined) return undefined;
    const { digestId, deliveryIds, event } = message;
    const reported =
      digestId === undefined
        ? sql`delivery_id = ANY(${array(deliveryIds, 'uuid')})`
        : sql`digest_id = ${digestId}::uuid`;
    if (outcome.outcome === 'DELIVERED') {
      await endDeliveries(tx, reported, sql`'DELIVERED'`, { status: outcome.status, error: undefined });
      await tx.execute(sql`
        UPDATE /* settleMessage */ alert_channels SET retry_at = NULL, hold_until = NULL, attempted_at = now(), first_failed_at = NULL,
          failure_count = 0, rejection_count = 0, digested_at = CASE WHEN ${digestId !== undefined} THEN now() ELSE digested_at END
        WHERE id = ${channel.id}`);
      return noEffects;
    }
    if (event === 'TEST') {
      await endDeliveries(tx, reported, sql`'FAILED'`, outcome);
      return noEffects;
    }
    switch (outcome.verdict) {
      case 'BUSY':
        await tx.execute(noteFailure(reported, outcome, { counts: false }));
        await hold(tx, channel, outcome.retryAfterSeconds ?? BUSY_SECONDS);
        return noEffects;
      case 'LATER':
        return retryLater(tx, channel, reported, outcome);
      case 'REJECTED':
        await endDeliveries(tx, reported, sql`'FAILED'`, outcome);
        return rejected(tx, channel, outcome);
      case 'DEAD':
        await endDeliveries(tx, reported, sql`'FAILED'`, outcome);
        return disable(tx, channel, outcome.error);
    }
  });
}

type Channel = {
  id: string;
  user_id: string;
  name: string;
  kind: string;
  state: string;
  failure_count: number;
  rejection_count: number;
  /** In seconds. */
  failed_for: number;
  failed_for_days: boolean | null;
};

/** PENDING -> the status. What is no longer queued was taken away meanwhile, and stays as it is. */
async function endDeliveries(
  tx: Tx,
  reported: SQL,
  status: SQL,
  { status: answer, error }: { status: number | undefined; error: string | undefined },
): Promise<void> {
  await tx.execute(sql`
    WITH /* endDeliveries */ gone AS (
      DELETE FROM alert_due WHERE ${reported} RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = ${status}, attempt = attempt + 1, delivered_at = CASE WHEN ${status} = 'DELIVERED' THEN now() END,
      last_status = ${answer ?? null}, last_error = ${error ?? null}
    FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/** A failed attempt, after which another one may follow. */
function noteFailure(reported: SQL, { status, error }: Failure, { counts }: { counts: boolean }): SQL {
  return sql`
    UPDATE /* noteFailure */ alert_deliveries SET attempt = attempt + ${counts ? 1 : 0}, last_status = ${status ?? null}, last_error = ${error}
    WHERE id = ANY(ARRAY(SELECT delivery_id FROM alert_due WHERE ${reported}))`;
}

/** The other side wants nothing for a while. */
async function hold(tx: Tx, { id }: Channel, forSeconds: number): Promise<void> {
  await tx.execute(sql`
    UPDATE /* hold */ alert_channels SET hold_until = now() + ${seconds(Math.min(forSeconds, RETRY_AFTER_SECONDS_MAX))} WHERE id = ${id}`);
}

async function retryLater(tx: Tx, channel: Channel, reported: SQL, failure: Failure): Promise<Effects> {
  await tx.execute(noteFailure(reported, failure, { counts: true }));
  if (channel.failed_for_days && channel.failure_count + 1 >= FAILURES_MAX)
    return disable(
      tx,
      channel,
      `It has taken no message for ${FAILING_DAYS_MAX} days. The last time: ${failure.error}`,
    );
  const left = await secondsLeft(tx, reported);
  if (left < LAST_SECONDS) await expireReported(tx, reported);
  // The last attempt comes just before the end.
  const delay = Math.min(
    retryAfterSeconds(channel.failed_for),
    left < LAST_SECONDS ? Number.POSITIVE_INFINITY : left - LAST_SECONDS / 2,
  );
  await tx.execute(sql`
    UPDATE /* retryLater */ alert_channels SET retry_at = now() + ${seconds(delay)}, attempted_at = now(),
      first_failed_at = coalesce(first_failed_at, now()), failure_count = failure_count + 1
    WHERE id = ${channel.id}`);
  if (failure.retryAfterSeconds !== undefined) await hold(tx, channel, failure.retryAfterSeconds);
  return noEffects;
}

/** With less time left, no attempt follows. */
const LAST_SECONDS = 60;

/** Until the first of these deliveries expires. */
async function secondsLeft(tx: Tx, reported: SQL): Promise<number> {
  const [row] = await tx.execute<{ seconds: number | null }>(sql`
    SELECT /* secondsLeft */ extract(epoch FROM min(queued_at) + make_interval(hours => ${DELIVERY_HOURS_MAX}) - now())::float8 AS seconds
    FROM alert_due WHERE ${reported}`);
  return row?.seconds ?? 0;
}

async function expireReported(tx: Tx, reported: SQL): Promise<void> {
  await tx.execute(sql`
    WITH /* expireReported */ gone AS (
      DELETE FROM alert_due WHERE ${reported} RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'EXPIRED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/** A refused code leaves its channel UNCONFIRMED. */
async function rejected(tx: Tx, channel: Channel, { error }: Failure): Promise<Effects> {
  const count = channel.rejection_count + 1;
  if (channel.kind === 'EMAIL' && channel.state === 'ACTIVE' && count >= REJECTIONS_MAX)
    return disable(tx, channel, `${REJECTIONS_MAX} messages in a row were refused. The last time: ${error}`);
  await tx.execute(sql`
    UPDATE /* rejected */ alert_channels SET rejection_count = ${count}, attempted_at = now() WHERE id = ${channel.id}`);
  return noEffects;
}

/**
 * ACTIVE -> DISABLED. What waits is not sent. The owner gets a notification, and a message on each
 * other channel that wants it.
 */
async function disable(tx: Tx, channel: Channel, because: string): Promise<Effects> {
  if (channel.state !== 'ACTIVE') return noEffects;
  const { id, user_id: userId } = channel;
  await tx.execute(sql`
    UPDATE /* disable */ alert_channels SET state = 'DISABLED', disabled_reason = ${because}, retry_at = NULL, hold_until = NULL,
      first_failed_at = NULL, failure_count = 0, rejection_count = 0
    WHERE id = ${id}`);
  await tx.execute(sql`
    WITH /* disable */ gone AS (
      DELETE FROM alert_due WHERE channel_id = ${id} AND NOT is_urgent RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'FAILED', last_error = 'The channel was disabled.'
    FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
  const detail = `The alert channel ${channel.name} was disabled: ${because} enableAlertChannel tests it and enables it again.`;
  await tx.execute(sql`
    WITH /* disable */ recorded AS (
      INSERT INTO alert_deliveries (id, channel_id, user_id, event, detail, status)
      SELECT ${NEW_ID}, id, user_id, 'CHANNEL_DISABLED', ${detail}, 'PENDING' FROM alert_channels
      WHERE user_id = ${userId} AND id <> ${id} AND deleted_at IS NULL AND state = 'ACTIVE' AND 'CHANNEL_DISABLED' = ANY(events)
      RETURNING id, channel_id
    )
    INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded`);
  const notified = await tx.execute<{ id: string }>(sql`
    INSERT /* disable */ INTO notifications (id, user_id, kind, detail)
    SELECT ${NEW_ID}, id, 'CHANNEL_DISABLED', ${detail} FROM users WHERE id = ${userId} AND notification_preference <> 'NONE'
    RETURNING id`);
  return { ...noEffects, changed: notified.map((row) => ({ userId, notifications: [row.id] })) };
}
