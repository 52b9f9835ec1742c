import { and, asc, eq, gt, isNull, sql } from 'drizzle-orm';
import type { PgUpdateSetSource } from 'drizzle-orm/pg-core';
import {
  type AlertChannelConfig,
  alertChannelPlace,
  type Confirmation,
  changeSealedConfig,
} from '../../domain/alerts/config.ts';
import type { AlertChannelKind, AlertEvent } from '../../domain/alerts/states.ts';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { NO_ID } from '../../domain/ids.ts';
import {
  ALERT_CHANNELS_PER_USER_MAX,
  CODE_HOURS,
  CODE_TRIES_MAX,
  CODES_PER_USER_PER_DAY,
} from '../../domain/limits.ts';
import { lockUser } from '../accounts/user-limits.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { countUpTo } from '../listing/count.ts';
import { named } from '../named.ts';
import { type AlertChannelRow, alertChannels, workflowAlertChannels } from '../schema.ts';
import { transactionMs } from '../workflows/schedule.ts';
import type { Transaction } from '../workflows/workflows.ts';
import { queueMessage } from './deliveries.ts';

/**
 * The channels of a user. Every change runs under the lock of the user, and then of the channel.
 * The worker that sends locks the channel alone.
 */

export type Owned = { userId: string; id: string };

export interface NewAlertChannel extends Owned {
  name: string;
  kind: AlertChannelKind;
  config: AlertChannelConfig;
  events: AlertEvent[];
  isDefault: boolean;
  includeLog: boolean;
  /** The sealed code that an e-mail channel waits for. */
  code?: string | undefined;
}

/** So many codes were sent to addresses of the user that the next one must wait. */
export interface TooManyCodes {
  outcome: 'TOO_MANY_CODES';
  retryAfterSeconds: number;
}

export type ChannelCreated = { outcome: 'CREATED'; channel: AlertChannelRow } | { outcome: 'FULL' } | TooManyCodes;

/**
 * Stores a channel: ACTIVE, or UNCONFIRMED with its code on the way. FULL: the user has as many as
 * one may have.
 */
export function createAlertChannel(db: Db, { code, ...given }: NewAlertChannel): Promise<ChannelCreated> {
  return db.transaction(async (tx): Promise<ChannelCreated> => {
    const { userId } = given;
    await lockUser(tx, userId);
    const present = and(eq(alertChannels.userId, userId), isNull(alertChannels.deletedAt));
    const bound = { table: alertChannels, condition: present, max: ALERT_CHANNELS_PER_USER_MAX };
    if ((await countUpTo(tx, 'createAlertChannel', bound)) >= ALERT_CHANNELS_PER_USER_MAX) return { outcome: 'FULL' };
    const wait = code === undefined ? undefined : await waitForCode(tx, userId);
    if (wait) return wait;
    const confirmation = code === undefined ? null : await newConfirmation(tx, code);
    const [channel] = await named(
      'createAlertChannel',
      tx
        .insert(alertChannels)
        .values({ ...given, state: confirmation ? 'UNCONFIRMED' : 'ACTIVE', confirmation })
        .returning(),
    );
    if (channel === undefined) throw new Error('An insert returned no row.');
    if (confirmation) await queueMessage(tx, channel, 'CONFIRMATION');
    return { outcome: 'CREATED', channel };
  });
}

export interface AlertChannelChanges extends Owned {
  name?: string;
  events?: AlertEvent[];
  isDefault?: boolean;
  includeLog?: boolean;
  target?: TargetChange;
}

export interface TargetChange {
  kind: AlertChannelKind;
  /** The config with the new target; undefined if that is the stored one. */
  from(stored: AlertChannelRow): AlertChannelConfig | undefined;
  /** The sealed code that a new address waits for. */
  code: string | undefined;
}

export type ChannelUpdated =
  | { outcome: 'UPDATED'; channel: AlertChannelRow }
  | { outcome: 'NOT_FOUND' | 'KIND_CHANGED' }
  | TooManyCodes;

/**
 * Changes the given fields. A new target begins without the failures of the one before, and what is
 * being sent to that is sent to the new one. A new e-mail address must be confirmed: what waits for
 * it is not sent.
 */
export function updateAlertChannel(
  db: Db,
  { userId, id, target, ...changes }: AlertChannelChanges,
): Promise<ChannelUpdated> {
  return db.transaction(async (tx): Promise<ChannelUpdated> => {
    const found = await lockChannel(tx, { userId, id });
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (target !== undefined && target.kind !== found.kind) return { outcome: 'KIND_CHANGED' };
    const config = target?.from(found);
    const code = config && target?.code;
    const wait = code === undefined ? undefined : await waitForCode(tx, userId);
    if (wait) return wait;
    const confirmation = code === undefined ? undefined : await newConfirmation(tx, code);
    const channel = await change(tx, found, {
      ...changes,
      ...(config ? { ...BEGUN_ANEW, config } : {}),
      ...(confirmation ? { state: 'UNCONFIRMED', disabledReason: null, confirmation } : {}),
    });
    if (confirmation) {
      await dropPending(tx, id, 'The address of the channel was changed.');
      await queueMessage(tx, channel, 'CONFIRMATION');
    }
    return { outcome: 'UPDATED', channel };
  });
}

const UNLEASED = { leaseToken: null, leaseOwner: null, leaseExpiresAt: null };
const WITHOUT_FAILURES = {
  retryAt: null,
  attemptedAt: null,
  holdUntil: null,
  firstFailedAt: null,
  failureCount: 0,
  rejectionCount: 0,
};
/** How an attempt ends that is under way concerns the target before: its worker loses the lease. */
const BEGUN_ANEW = { ...UNLEASED, ...WITHOUT_FAILURES };

/** The channel with its row locked, under the lock of its user. Deleted ones are not found. */
async function lockChannel(tx: Transaction, { userId, id }: Owned): Promise<AlertChannelRow | undefined> {
  await lockUser(tx, userId);
  const [row] = await named(
    'lockChannel',
    tx
      .select()
      .from(alertChannels)
      .where(and(eq(alertChannels.id, id), eq(alertChannels.userId, userId), isNull(alertChannels.deletedAt)))
      .for('no key update'),
  );
  return row;
}

/** Changes a locked channel. */
async function change(
  tx: Transaction,
  found: AlertChannelRow,
  changes: PgUpdateSetSource<typeof alertChannels>,
): Promise<AlertChannelRow> {
  if (Object.keys(changes).length === 0) return found;
  const [channel] = await named(
    'change',
    tx.update(alertChannels).set(changes).where(eq(alertChannels.id, found.id)).returning(),
  );
  if (channel === undefined) throw new Error('An update of a locked row returned none.');
  return channel;
}

/** PENDING -> FAILED, for all that waits in a locked channel. */
async function dropPending(tx: Transaction, channelId: string, because: string): Promise<void> {
  await tx.execute(sql`
    WITH /* dropPending */ gone AS (
      DELETE FROM alert_due WHERE channel_id = ${channelId} RETURNING delivery_id
    )
    UPDATE alert_deliveries SET status = 'FAILED', last_error = ${because} FROM gone WHERE id = ANY(ARRAY[gone.delivery_id])`);
}

/**
 * Limits how many codes go to addresses that one user names, so that nobody is flooded. The lock of
 * the user is held.
 */
async function waitForCode(tx: Transaction, userId: string): Promise<TooManyCodes | undefined> {
  const [full] = await tx.execute<{ seconds: number }>(sql`
    SELECT /* waitForCode */ extract(epoch FROM created_at + interval '1 day' - now())::float8 AS seconds FROM alert_deliveries
    WHERE user_id = ${userId} AND event = 'CONFIRMATION' AND created_at > now() - interval '1 day'
    ORDER BY created_at DESC OFFSET ${CODES_PER_USER_PER_DAY - 1} LIMIT 1`);
  return full && { outcome: 'TOO_MANY_CODES', retryAfterSeconds: Math.max(1, Math.ceil(full.seconds)) };
}

async function newConfirmation(tx: Transaction, code: string): Promise<Confirmation> {
  const expiresAt = new Date((await transactionMs(tx)) + CODE_HOURS * 3_600_000).toISOString();
  return { code, expiresAt, triesLeft: CODE_TRIES_MAX };
}

export type CodeSent =
  | { outcome: 'SENT'; channel: AlertChannelRow }
  | { outcome: 'NOT_FOUND' | 'NOT_UNCONFIRMED' }
  | TooManyCodes;

/** Sends another code. The one before is of no use any more. */
export function sendCode(db: Db, { code, ...key }: Owned & { code: string }): Promise<CodeSent> {
  return db.transaction(async (tx): Promise<CodeSent> => {
    const found = await lockChannel(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.state !== 'UNCONFIRMED') return { outcome: 'NOT_UNCONFIRMED' };
    const wait = await waitForCode(tx, key.userId);
    if (wait) return wait;
    // A worker that sends the code before loses its lease, or it would note the end of the new one.
    const channel = await change(tx, found, { ...BEGUN_ANEW, confirmation: await newConfirmation(tx, code) });
    await dropPending(tx, found.id, 'Another code was asked for.');
    await queueMessage(tx, channel, 'CONFIRMATION');
    return { outcome: 'SENT', channel };
  });
}

export type ChannelConfirmed =
  | { outcome: 'CONFIRMED'; channel: AlertChannelRow }
  | { outcome: 'NOT_FOUND' | 'NOT_UNCONFIRMED' | 'CODE_EXPIRED' | 'NO_TRIES_LEFT' }
  | { outcome: 'WRONG_CODE'; triesLeft: number };

/**
 * UNCONFIRMED -> ACTIVE if the code is right. A wrong one is counted: however many are sent at
 * once, only so many are looked at. Confirming an ACTIVE channel changes nothing.
 */
export function confirmAlertChannel(
  db: Db,
  { isRight, ...key }: Owned & { isRight: (sealedCode: string) => boolean },
): Promise<ChannelConfirmed> {
  return db.transaction(async (tx): Promise<ChannelConfirmed> => {
    const found = await lockChannel(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.state === 'ACTIVE') return { outcome: 'CONFIRMED', channel: found };
    const { confirmation } = found;
    if (found.state !== 'UNCONFIRMED' || confirmation === null) return { outcome: 'NOT_UNCONFIRMED' };
    if (Date.parse(confirmation.expiresAt) <= (await transactionMs(tx))) return { outcome: 'CODE_EXPIRED' };
    if (confirmation.triesLeft <= 0) return { outcome: 'NO_TRIES_LEFT' };
    if (isRight(confirmation.code)) {
      const channel = await change(tx, found, { ...BEGUN_ANEW, state: 'ACTIVE', confirmation: null });
      // Its message has arrived, although its worker may not have noted that.
      await dropPending(tx, found.id, 'The address was confirmed.');
      return { outcome: 'CONFIRMED', channel };
    }
    const triesLeft = confirmation.triesLeft - 1;
    await change(tx, found, { confirmation: { ...confirmation, triesLeft } });
    return { outcome: 'WRONG_CODE', triesLeft };
  });
}

/**
 * DISABLED -> ACTIVE, if the channel still sends where its test was delivered. Undefined if it is
 * not so any more.
 */
export async function enableAlertChannel(
  db: Db,
  { config, ...key }: Owned & { config: AlertChannelConfig },
): Promise<AlertChannelRow | undefined> {
  return db.transaction(async (tx) => {
    const found = await lockChannel(tx, key);
    if (found?.state !== 'DISABLED') return undefined;
    const [row] = await tx.execute<{ same: boolean }>(sql`
      SELECT /* enableAlertChannel */ config = ${JSON.stringify(config)}::jsonb AS same FROM alert_channels WHERE id = ${key.id}`);
    if (!row?.same) return undefined;
    return change(tx, found, { ...WITHOUT_FAILURES, state: 'ACTIVE', disabledReason: null });
  });
}

export type SecretRotated = { outcome: 'ROTATED'; channel: AlertChannelRow } | { outcome: 'NOT_FOUND' | 'NOT_WEBHOOK' };

/** Stores the config with another signing secret. */
export function rotateChannelSecret(
  db: Db,
  { from, ...key }: Owned & { from: (stored: AlertChannelRow) => AlertChannelConfig },
): Promise<SecretRotated> {
  return db.transaction(async (tx): Promise<SecretRotated> => {
    const found = await lockChannel(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.kind !== 'WEBHOOK') return { outcome: 'NOT_WEBHOOK' };
    return { outcome: 'ROTATED', channel: await change(tx, found, { config: from(found) }) };
  });
}

/**
 * Deletes a channel: nothing is sent to it, its secrets are removed, and what it has delivered
 * stays readable. A workflow whose only own channel it was goes back to the default ones: without
 * any, it would fall silent. Undefined if the user has no such channel.
 */
export function deleteAlertChannel(db: Db, { userId, id }: Owned): Promise<{ effects: Effects } | undefined> {
  return db.transaction(async (tx) => {
    await lockUser(tx, userId); // no workflow chooses it from now on
    const choosing = await tx.execute<{ id: string }>(sql`
      SELECT /* deleteAlertChannel */ id FROM workflows WHERE user_id = ${userId} AND id = ANY(ARRAY(
        SELECT workflow_id FROM workflow_alert_channels WHERE channel_id = ${id}))
      ORDER BY id FOR NO KEY UPDATE`);
    const found = await lockChannel(tx, { userId, id });
    if (found === undefined) return undefined;
    const workflowIds = choosing.map((row) => row.id);
    await named('deleteAlertChannel', tx.delete(workflowAlertChannels).where(eq(workflowAlertChannels.channelId, id)));
    await tx.execute(sql`
      UPDATE /* deleteAlertChannel */ workflows SET updated_at = now(), has_own_alert_channels =
        EXISTS (SELECT FROM workflow_alert_channels WHERE workflow_id = workflows.id OFFSET 0)
      WHERE id = ANY(${array(workflowIds, 'uuid')})`);
    await change(tx, found, {
      ...BEGUN_ANEW,
      config: { shown: found.config.shown, sealed: {} },
      confirmation: null,
      deletedAt: sql`now()`,
    });
    await dropPending(tx, id, 'The channel was deleted.');
    const changed = workflowIds.length === 0 ? [] : [{ userId, workflows: workflowIds }];
    return { effects: { ...noEffects, changed } };
  });
}

const CHANNELS_PER_SET = 200;

/**
 * Passes every sealed text of every channel through `change`, and stores those that change. Each
 * transaction locks a set of channels, so that an update, which may keep a secret, comes before or
 * after it.
 */
export async function changeChannelSecrets(
  db: Db,
  changeText: (sealed: string, place: string) => string,
): Promise<void> {
  let after = NO_ID;
  for (;;) {
    const last = await db.transaction(async (tx) => {
      const rows = await named(
        'changeChannelSecrets',
        tx
          .select()
          .from(alertChannels)
          .where(gt(alertChannels.id, after))
          .orderBy(asc(alertChannels.id))
          .limit(CHANNELS_PER_SET)
          .for('no key update'),
      );
      for (const row of rows) {
        const { id, config, confirmation } = row;
        const changed = {
          config: changeSealedConfig(id, config, changeText),
          confirmation: confirmation && {
            ...confirmation,
            code: changeText(confirmation.code, alertChannelPlace(id, 'code')),
          },
        };
        if (JSON.stringify(changed) !== JSON.stringify({ config, confirmation })) await change(tx, row, changed);
      }
      return rows.at(-1)?.id;
    });
    if (last === undefined) return;
    after = last;
  }
}
