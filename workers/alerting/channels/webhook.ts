import { createHmac } from 'node:crypto';
import type { Alert, OpenAlertTarget, SendOutcome } from '../../../domain/alerts/alert.ts';
import { webhookBody } from '../../../domain/alerts/content.ts';
import { type ChannelContext, outcomeOf } from './outcome.ts';

/**
 * Sends one alert as Standard Webhooks describes it: https://www.standardwebhooks.com. `now` is the
 * time of this attempt: receivers refuse an old one, so that nobody can repeat a message.
 */
export function sendWebhook(
  { url, secrets }: Extract<OpenAlertTarget, { kind: 'WEBHOOK' }>,
  alert: Alert,
  context: ChannelContext,
  now = new Date(),
): Promise<SendOutcome> {
  const body = webhookBody(alert);
  const id = alert.deliveryId;
  const timestamp = String(Math.floor(now.getTime() / 1_000));
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => signature(secret, `${id}.${timestamp}.${body}`)).join(' '),
  };
  return outcomeOf(
    url,
    { headers, body },
    { ...context, secrets: secrets.flatMap((secret) => [secret, keyIn(secret)]) },
  );
}

/** The receiver accepts any of them, so that a secret can be replaced at leisure. */
function signature(secret: string, signed: string): string {
  const key = Buffer.from(keyIn(secret), 'base64');
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
}

function keyIn(secret: string): string {
  return secret.replace(/^whsec_/, '');
}
