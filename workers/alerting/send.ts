import type { Logger } from 'pino';
import type { AlertMessage, OpenAlertTarget, SendOutcome } from '../../domain/alerts/alert.ts';
import { parseMailFrom, parseSmtpUrl } from '../../domain/alerts/smtp.ts';
import type { NetworkPolicy } from '../../domain/network/networks.ts';
import type { Trust } from '../execution/checks/trust.ts';
import type { Names } from '../shared/dns/names.ts';
import { sendDiscord } from './channels/discord.ts';
import { createMailer, type Mailer } from './channels/email.ts';
import { sendNtfy } from './channels/ntfy.ts';
import { failed } from './channels/outcome.ts';
import { sendSlack } from './channels/slack.ts';
import { sendWebhook } from './channels/webhook.ts';

export interface SenderOptions {
  /** ALERT_ALLOW. It does not concern the mail server, which the operator chooses. */
  allow: NetworkPolicy;
  /** SMTP_URL and MAIL_FROM. Without them, e-mail fails. `ca`: the server's authorities in PEM. */
  smtp?: { url: string; from: string; ca?: string | undefined } | undefined;
  log?: Pick<Logger, 'error'> | undefined;
  /** Resolves names. Default: the system's way. */
  names?: Names | undefined;
  /** The authorities for https. Default: the well-known ones and NODE_EXTRA_CA_CERTS. */
  trust?: Trust | undefined;
  /** Of one attempt. Default: 15 s. */
  timeoutSeconds?: number | undefined;
}

export interface Sender {
  /** One attempt to send. It never rejects, and an abort of `signal` ends it at once. */
  send(target: OpenAlertTarget, message: AlertMessage, signal: AbortSignal): Promise<SendOutcome>;
  close(): void;
}

/** Sends alerts by every kind of channel. Throws an Error that names a setting which is wrong. */
export function createSender({ allow, smtp, log, names, trust, timeoutSeconds }: SenderOptions): Sender {
  const mailer = smtp && mailerOf(smtp, timeoutSeconds);

  async function dispatch(target: OpenAlertTarget, message: AlertMessage, signal: AbortSignal): Promise<SendOutcome> {
    if (target.kind === 'EMAIL') return mailer ? mailer.send(target.address, message, signal) : failed(NO_MAIL);
    // Its code would go to where nobody has asked for one.
    if (message.kind === 'CONFIRMATION') return failed('Only an address of e-mail is confirmed.', 'REJECTED');
    const context = { allow, signal, names, trust, timeoutSeconds };
    switch (target.kind) {
      case 'WEBHOOK':
        // A program counts on one event a request.
        if (message.kind === 'DIGEST') return failed('A webhook gets each alert by itself.');
        return sendWebhook(target, message.alert, context);
      case 'SLACK':
        return sendSlack(target, message, context);
      case 'DISCORD':
        return sendDiscord(target, message, context);
      case 'NTFY':
        return sendNtfy(target, message, context);
    }
  }

  return {
    async send(target, message, signal) {
      try {
        return await dispatch(target, message, signal);
      } catch (error) {
        // A fault of ours. Its text is for the operator alone: it may hold what the target hides.
        log?.error({ err: error, kind: target.kind }, 'An alert could not be sent.');
        return failed('The alert could not be sent. The log of the alerting worker says why.');
      }
    },
    close: () => mailer?.close(),
  };
}

const NO_MAIL = 'This server sends no e-mail: its operator has not set SMTP_URL and MAIL_FROM.';

function mailerOf({ url, from: fromText, ca }: NonNullable<SenderOptions['smtp']>, timeoutSeconds?: number): Mailer {
  const server = parseSmtpUrl(url);
  if (typeof server === 'string') throw new Error(`SMTP_URL: ${server}`);
  const from = parseMailFrom(fromText);
  if (typeof from === 'string') throw new Error(`MAIL_FROM: ${from}`);
  return createMailer({ server, from, ca, timeoutSeconds });
}
