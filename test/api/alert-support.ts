import { eq, sql } from 'drizzle-orm';
import { expect } from 'vitest';
import type { Db } from '../../db/client.ts';
import { type AlertChannelRow, alertChannels } from '../../db/schema.ts';
import { alertChannelPlace } from '../../domain/alerts/config.ts';
import type { AlertDeliveryStatus } from '../../domain/alerts/states.ts';
import { testSealer } from '../support/workers.ts';
import { type Answer, query } from './support.ts';

export const CHANNEL = 'id name kind target state events isDefault includeLog disabledReason confirmationTriesLeft';
export const ERRORS = 'userErrors { code message path }';

/** Calls a mutation with an input, and returns its payload. */
export async function call(
  api: { url: string },
  { token }: { token: string },
  name: string,
  input: object,
  fields: string,
): Promise<Answer['data']> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  const document = `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} ${ERRORS} } }`;
  const answer = await query(api, document, { token, variables: { input } });
  if (answer.errors) throw new Error(answer.errors.map(({ message }) => message).join());
  return answer.data[name];
}

export const WEBHOOK = { webhook: { url: 'https://hooks.example.com/alerts/4711-4711' } };

/** Creates a channel, a webhook unless `input` says otherwise. */
export async function createChannel(
  api: { url: string },
  who: { token: string },
  input: object = {},
): Promise<Answer['data']> {
  const given = { name: 'ops', target: WEBHOOK, ...input };
  return call(api, who, 'createAlertChannel', given, `secret alertChannel { ${CHANNEL} }`);
}

export async function channelRow(db: Db, id: string): Promise<AlertChannelRow> {
  const [row] = await db.select().from(alertChannels).where(eq(alertChannels.id, id));
  if (row === undefined) throw new Error('There is no such channel.');
  return row;
}

/** The code that was sent to the address of a channel. */
export async function codeOf(db: Db, id: string): Promise<string> {
  const { confirmation } = await channelRow(db, id);
  return testSealer.open(confirmation?.code ?? '', alertChannelPlace(id, 'code'));
}

/** Waits until a test is queued for a channel, and ends it as a worker does. */
export async function settleTest(
  db: Db,
  channelId: string,
  status: AlertDeliveryStatus,
  error?: string,
): Promise<void> {
  await expect
    .poll(
      async () => {
        const settled = await db.execute(sql`
          WITH gone AS (DELETE FROM alert_due WHERE channel_id = ${channelId} AND is_urgent RETURNING delivery_id)
          UPDATE alert_deliveries SET status = ${status}, attempt = attempt + 1, last_error = ${error ?? null},
            delivered_at = CASE WHEN ${status} = 'DELIVERED' THEN now() END
          FROM gone WHERE id = gone.delivery_id RETURNING 1`);
        return settled.length;
      },
      { timeout: 20_000, interval: 50 },
    )
    .toBe(1);
}

/** Makes a channel DISABLED, as the worker does. */
export async function disable(db: Db, id: string): Promise<void> {
  await db
    .update(alertChannels)
    .set({ state: 'DISABLED', disabledReason: 'It is gone.', failureCount: 20 })
    .where(eq(alertChannels.id, id));
}
