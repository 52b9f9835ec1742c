import { sql } from 'drizzle-orm';
import { DIGEST_NAMED_MAX } from '../../domain/alerts/content.ts';
import { DELIVERY_HOURS_MAX } from '../../domain/alerts/retry.ts';
import type { AlertDeliveryEvent } from '../../domain/alerts/states.ts';
import { newId } from '../../domain/ids.ts';
import { array, seconds } from '../arrays.ts';
import type { Db } from '../client.ts';
import type { LeaseKey } from '../lease.ts';
import type { AlertChannelRow } from '../schema.ts';
import { BEGINNINGS, ENDS, isBeginning } from './pairs.ts';

/**
 * The queue of each channel. A worker claims a channel, asks for its next message, sends it,
 * settles it (settle.ts), and asks again until nothing may be sent now. Each step renews the lease,
 * and presents it: of two workers that believe to have a channel, one settles.
 *
 * A message that was sent and not settled, because its worker was killed, is sent again under the
 * same id.
 */

/** Longer than an attempt may take, so that no timer must renew the lease. */
const CHANNEL_LEASE_SECONDS = 30;
/**
 * What comes within this time of the first delivery is looked at together. Webhooks do not wait.
 */
export const GATHER_SECONDS = 10;
/** As many are sent one by one; more become a digest. */
const SINGLES_MAX = 5;
const DIGEST_SECONDS_MIN = 60;
const DIGEST_SIZE_MAX = 10_000;
/** A new delivery tries a channel that fails at once, unless it was tried so short a while ago. */
const PROBE_SECONDS = 30;
/** The api waits for a test for less. */
const TEST_SECONDS_MAX = 60;
const EXPIRED_PER_STEP = 1_000;

const LEASE_END = sql`clock_timestamp() + ${seconds(CHANNEL_LEASE_SECONDS)}`;

/**
 * Takes at most `limit` channels that may send something now. The next message of a channel that
 * fails waits for its `retry_at`. A delivery that has come since the last attempt does not: it
 * learns soon whether the channel works again.
 *
 * The recursion jumps from channel to channel in an index, so 100,000 deliveries of one channel
 * cost as much as one.
 */
export async function claimChannels(db: Db, { owner, limit }: { owner: string; limit: number }): Promise<LeaseKey[]> {
  const rows = await db.execute<{ id: string; lease_token: string }>(sql`
    WITH RECURSIVE /* claimChannels */ waiting AS (
      (SELECT channel_id FROM alert_due ORDER BY channel_id LIMIT 1)
      UNION ALL
      SELECT (SELECT d.channel_id FROM alert_due d WHERE d.channel_id > w.channel_id ORDER BY d.channel_id LIMIT 1)
      FROM waiting w WHERE w.channel_id IS NOT NULL
    ), ready AS MATERIALIZED (
      SELECT c.id, may_send FROM waiting w, LATERAL (
          SELECT * FROM alert_channels WHERE id = ANY(ARRAY[w.channel_id]) AND (lease_expires_at >= now()) IS NOT TRUE LIMIT 1
        ) c, LATERAL (
          SELECT is_urgent, queued_at FROM alert_due WHERE channel_id = w.channel_id ORDER BY is_urgent DESC, delivery_id LIMIT 1
        ) first, LATERAL (
          SELECT queued_at FROM alert_due WHERE channel_id = w.channel_id ORDER BY is_urgent, delivery_id DESC LIMIT 1
        ) newest, LATERAL (
          SELECT (c.hold_until > now()) IS NOT TRUE AND (c.kind = 'WEBHOOK' OR c.state = 'UNCONFIRMED' OR first.queued_at <= now() - ${seconds(GATHER_SECONDS)})
            AND ((c.retry_at > now()) IS NOT TRUE OR newest.queued_at > c.attempted_at AND c.attempted_at < now() - ${seconds(PROBE_SECONDS)}) AS may_send
        ) judged
      WHERE first.is_urgent OR may_send
      ORDER BY first.is_urgent DESC, first.queued_at LIMIT ${limit}
    ), locked AS MATERIALIZED (
      SELECT id FROM alert_channels WHERE id = ANY(ARRAY(SELECT id FROM ready)) AND (lease_expires_at >= now()) IS NOT TRUE
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE alert_channels SET lease_token = gen_random_uuid(), lease_owner = ${owner}, lease_expires_at = ${LEASE_END},
      retry_at = CASE WHEN may_send THEN NULL ELSE retry_at END
    FROM locked JOIN ready USING (id) WHERE alert_channels.id = ANY(ARRAY[locked.id])
    RETURNING alert_channels.id, lease_token`);
  return rows.map((row) => ({ id: row.id, leaseToken: row.lease_token }));
}

export interface NextMessage {
  channel: LeasedChannel;
  /** The deliveries that it reports: their first ones if it is a digest. */
  deliveryIds: string[];
  /** Of a digest. */
  digestId: string | undefined;
  /** How many deliveries it reports. */
  count: number;
  event: AlertDeliveryEvent;
}

export type LeasedChannel = Pick<
  AlertChannelRow,
  'id' | 'userId' | 'name' | 'kind' | 'config' | 'confirmation' | 'includeLog'
>;

/**
 * The next message of a leased channel, with its lease renewed. 'NONE' if nothing may be sent now:
 * the lease is given back. 'LOST' if another worker has the channel.
 */
export async function nextMessage(db: Db, lease: LeaseKey): Promise<NextMessage | 'NONE' | 'LOST'> {
  for (;;) {
    const step = await db.transaction((tx) => nextStep(tx, lease));
    if (step !== 'AGAIN') return step;
  }
}

type Tx = Pick<Db, 'execute'>;

type ChannelState = {
  id: string;
  user_id: string;
  name: string;
  kind: AlertChannelRow['kind'];
  config: AlertChannelRow['config'];
  confirmation: AlertChannelRow['confirmation'];
  include_log: boolean;
  state: AlertChannelRow['state'];
  is_deleted: boolean;
  waits: boolean;
  digest_wait: number | null;
};

type Waiting = {
  id: string;
  event: AlertDeliveryEvent;
  incident_id: string | null;
  is_urgent: boolean;
  digest_id: string | null;
  is_expired: boolean;
  is_gathered: boolean;
};

async function nextStep(tx: Tx, { id, leaseToken }: LeaseKey): Promise<NextMessage | 'NONE' | 'LOST' | 'AGAIN'> {
  const [row] = await tx.execute<ChannelState>(sql`
    UPDATE /* nextStep */ alert_channels SET lease_expires_at = ${LEASE_END} WHERE id = ${id} AND lease_token = ${leaseToken}
    RETURNING id, user_id, name, kind, config, confirmation, include_log, state,
      deleted_at IS NOT NULL AS is_deleted, coalesce(retry_at > now(), false) OR coalesce(hold_until > now(), false) AS waits,
      extract(epoch FROM digested_at + ${seconds(DIGEST_SECONDS_MIN)} - now())::float8 AS digest_wait`);
  if (row === undefined) return 'LOST';
  const waiting = await tx.execute<Waiting>(sql`
    SELECT /* nextStep */ d.id, d.event, d.incident_id, due.is_urgent, due.digest_id,
      due.queued_at < now() - CASE WHEN is_urgent THEN ${seconds(TEST_SECONDS_MAX)} ELSE make_interval(hours => ${DELIVERY_HOURS_MAX}) END AS is_expired,
      due.queued_at <= now() - ${seconds(GATHER_SECONDS)} AS is_gathered
    FROM (
      SELECT * FROM alert_due WHERE channel_id = ${id} ORDER BY is_urgent DESC, delivery_id LIMIT ${SINGLES_MAX + 1}
    ) due, LATERAL (SELECT * FROM alert_deliveries WHERE id = ANY(ARRAY[due.delivery_id]) LIMIT 1) d
    ORDER BY due.is_urgent DESC, due.delivery_id`);
  const [first] = waiting;
  if (first === undefined) return release(tx, id);
  if (first.is_expired) {
    await expire(tx, id, first);
    return 'AGAIN';
  }
  const refusal = refusalOf(row, first);
  if (refusal !== undefined) {
    await drop(tx, first.id, refusal);
    return 'AGAIN';
  }
  const channel: LeasedChannel = {
    ...{ id, userId: row.user_id, name: row.name, kind: row.kind, config: row.config, confirmation: row.confirmation },
    includeLog: row.include_log,
  };
  const single = (delivery: Pick<Waiting, 'id' | 'event'>): NextMessage => ({
    ...{ channel, deliveryIds: [delivery.id], digestId: undefined, count: 1, event: delivery.event },
  });
  if (first.is_urgent) return single(first);
  const gathers = row.kind !== 'WEBHOOK' && row.state !== 'UNCONFIRMED';
  if (row.waits || (gathers && !first.is_gathered)) return release(tx, id);
  if (first.digest_id !== null) return digest(tx, channel, first.digest_id, first.event);
  if (gathers && waiting.length > SINGLES_MAX) {
    if (row.digest_wait !== null && row.digest_wait > 0) return release(tx, id, row.digest_wait);
    return digest(tx, channel, await makeDigest(tx, id), first.event);
  }
  const end = await incidentEnd(tx, id, first);
  if (end === undefined) return single(first);
  await merge(tx, [first.id]);
  return single(end);
}

/**
 * Why a channel takes a message no more. Its owner drops what waits when it is deleted or its
 * address changes, but the transaction of an event that saw it before may queue a message after
 * that.
 */
function refusalOf({ is_deleted: isDeleted, state }: ChannelState, { event, is_urgent: isUrgent }: Waiting) {
  if (isDeleted) return 'The channel was deleted.';
  if (state === 'UNCONFIRMED' && event !== 'CONFIRMATION') return 'The address of the channel is not confirmed.';
  return state === 'DISABLED' && !isUrgent ? 'The channel was disabled.' : undefined;
}

/** PENDING -> FAILED without an attempt. */
async function drop(tx: Tx, deliveryId: string, because: string): Promise<void> {
  await tx.execute(sql`
    WITH /* drop */ gone AS (
      DELETE FROM alert_due WHERE delivery_id = ${deliveryId} RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'FAILED', last_error = ${because} FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/** Gives the lease of a channel back, so that another worker need not wait for its end. */
export async function releaseChannel(db: Db, { id, leaseToken }: LeaseKey): Promise<void> {
  await db.execute(sql`
    UPDATE /* releaseChannel */ alert_channels SET lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL
    WHERE id = ${id} AND lease_token = ${leaseToken}`);
}

/** Gives the lease back. With `holdSeconds`, nothing but tests is sent before. */
async function release(tx: Tx, id: string, holdSeconds?: number): Promise<'NONE'> {
  await tx.execute(sql`
    UPDATE /* release */ alert_channels SET lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
      hold_until = CASE WHEN ${holdSeconds ?? null}::float8 IS NULL THEN hold_until ELSE now() + make_interval(secs => ${holdSeconds ?? null}::float8) END
    WHERE id = ${id}`);
  return 'NONE';
}

/** PENDING -> EXPIRED, for the first delivery and what has waited as long. */
async function expire(tx: Tx, channelId: string, { is_urgent: isUrgent }: Waiting): Promise<void> {
  const kept = isUrgent ? seconds(TEST_SECONDS_MAX) : sql`make_interval(hours => ${DELIVERY_HOURS_MAX})`;
  await tx.execute(sql`
    WITH /* expire */ gone AS (
      DELETE FROM alert_due WHERE delivery_id = ANY(ARRAY(
        SELECT delivery_id FROM alert_due WHERE channel_id = ${channelId} AND is_urgent = ${isUrgent} AND queued_at < now() - ${kept}
        ORDER BY is_urgent DESC, delivery_id LIMIT ${EXPIRED_PER_STEP})) RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'EXPIRED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/**
 * If the incident or outage that `beginning` reports has ended: the waiting message that says so to
 * the same channel. It then reports both.
 */
async function incidentEnd(
  tx: Tx,
  channelId: string,
  beginning: Waiting,
): Promise<{ id: string; event: AlertDeliveryEvent } | undefined> {
  if (!isBeginning(beginning.event) || beginning.incident_id === null) return undefined;
  const [end] = await tx.execute<{ id: string; event: AlertDeliveryEvent }>(sql`
    SELECT /* incidentEnd */ id, event FROM alert_deliveries WHERE incident_id = ${beginning.incident_id} AND channel_id = ${channelId}
      AND event IN ${ENDS} AND status = 'PENDING' LIMIT 1`);
  return end;
}

/** PENDING -> MERGED. */
async function merge(tx: Tx, ids: string[]): Promise<void> {
  await tx.execute(sql`
    WITH /* merge */ gone AS (
      DELETE FROM alert_due WHERE delivery_id = ANY(${array(ids, 'uuid')}) RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'MERGED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/**
 * Makes what waits in a channel one digest. Beginnings whose end waits too are merged
 * into their ends. A digest has an id of its own, because one of its deliveries may have been sent
 * alone before.
 */
async function makeDigest(tx: Tx, channelId: string): Promise<string> {
  const digestId = newId();
  await tx.execute(sql`
    UPDATE /* makeDigest */ alert_due SET digest_id = ${digestId} WHERE delivery_id = ANY(ARRAY(
      SELECT delivery_id FROM alert_due WHERE channel_id = ${channelId} AND NOT is_urgent AND digest_id IS NULL
      ORDER BY is_urgent DESC, delivery_id LIMIT ${DIGEST_SIZE_MAX}))`);
  await tx.execute(sql`
    WITH /* makeDigest */ reported AS MATERIALIZED (
      SELECT d.id, d.event, d.incident_id FROM alert_due due, LATERAL (SELECT * FROM alert_deliveries WHERE id = ANY(ARRAY[due.delivery_id]) LIMIT 1) d
      WHERE due.digest_id = ${digestId}
    ), gone AS (
      DELETE FROM alert_due WHERE delivery_id = ANY(ARRAY(
        SELECT id FROM reported WHERE event IN ${BEGINNINGS} AND incident_id IN (
          SELECT incident_id FROM reported WHERE event IN ${ENDS}))) RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'MERGED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
  return digestId;
}

async function digest(
  tx: Tx,
  channel: LeasedChannel,
  digestId: string,
  event: AlertDeliveryEvent,
): Promise<NextMessage> {
  const named = await tx.execute<{ id: string; count: number }>(sql`
    SELECT /* digest */ delivery_id AS id, (count(*) OVER ())::integer AS count FROM alert_due WHERE digest_id = ${digestId}
    ORDER BY delivery_id LIMIT ${DIGEST_NAMED_MAX}`);
  return { channel, deliveryIds: named.map(({ id }) => id), digestId, count: named[0]?.count ?? 0, event };
}
