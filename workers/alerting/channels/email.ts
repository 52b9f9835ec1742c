import { createTransport } from 'nodemailer';
import type { AlertMessage, SendOutcome } from '../../../domain/alerts/alert.ts';
import { type AlertContent, contentOf, cut } from '../../../domain/alerts/content.ts';
import type { SmtpServer } from '../../../domain/alerts/smtp.ts';
import { createMask } from '../../../domain/masking/mask.ts';
import { ATTEMPT_SECONDS_MAX } from '../http.ts';
import { shortLine } from '../short-line.ts';
import { defused, safeLink } from './defused.ts';
import { failed } from './outcome.ts';

const SUBJECT_LENGTH_MAX = 200;

export interface MailSettings {
  server: SmtpServer;
  /** MAIL_FROM. */
  from: { name: string; address: string };
  /** The authorities of the server in PEM. Default: the well-known ones and NODE_EXTRA_CA_CERTS. */
  ca?: string | undefined;
  timeoutSeconds?: number | undefined;
}

export interface Mailer {
  send(address: string, message: AlertMessage, signal: AbortSignal): Promise<SendOutcome>;
  close(): void;
}

/** Sends e-mail by the operator's server, each message over its own connection. */
export function createMailer({ server, from, ca, timeoutSeconds = ATTEMPT_SECONDS_MAX }: MailSettings): Mailer {
  const timeoutMs = timeoutSeconds * 1_000;
  const transport = createTransport({
    host: server.host,
    port: server.port,
    secure: server.isSecure,
    requireTLS: server.requiresTls,
    ...(ca === undefined ? {} : { tls: { ca } }),
    ...(server.login && { auth: { user: server.login.user, pass: server.login.password } }),
    // The attempt as a whole is bounded too; a stage alone must not take longer.
    ...{ dnsTimeout: timeoutMs, connectionTimeout: timeoutMs, greetingTimeout: timeoutMs, socketTimeout: timeoutMs },
    socketCloseTimeout: 0,
    // Nothing that a user writes may read a file or a page into a message.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const mask = createMask(server.login ? [server.login.password] : []);
  return {
    async send(address, message, signal) {
      const attempt = new AbortController();
      const stop = () => attempt.abort();
      const timer = setTimeout(stop, timeoutMs);
      signal.addEventListener('abort', stop);
      if (signal.aborted) stop();
      try {
        await transport.sendMail({ ...mailOf(message, { from, address }), signal: attempt.signal });
        return { outcome: 'DELIVERED', status: 250 };
      } catch (error) {
        if (signal.aborted) return failed('The attempt was stopped before it ended.');
        if (attempt.signal.aborted)
          return failed(`Timed out after ${timeoutSeconds} s waiting for the mail server. ${OPERATOR}`);
        const { text, verdict, status } = judged(error);
        return failed(shortLine(mask, text), verdict, status);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
      }
    },
    close: () => transport.close(),
  };
}

const OPERATOR = 'The operator sets it with SMTP_URL.';

/**
 * Replies that speak of this server's right to send, not of the message (RFC 4954, section 6; RFC
 * 3207, section 4).
 */
const OWN_FAULTS = new Set([503, 530, 534, 535, 538]);

/**
 * Whose fault it is: a reply 5xx to the recipient or to the message is final (RFC 5321, section
 * 4.2.1). One to the connection, the login or the sender is the operator's, and may be fixed.
 */
function judged(error: unknown): { text: string; verdict: 'LATER' | 'REJECTED'; status: number | undefined } {
  const { code, originalCode, command, responseCode, response, message } = faultOf(error);
  if (code === 'EAUTH')
    return {
      text: `The mail server refuses the login of this server. ${OPERATOR}`,
      verdict: 'LATER',
      status: responseCode,
    };
  if (responseCode === undefined) {
    if (code === 'EENVELOPE' || code === 'EMESSAGE')
      return { text: `The mail server cannot take this message: ${message}.`, verdict: 'LATER', status: undefined };
    return {
      text: `The mail server could not be reached, or ended the connection (${originalCode ?? code ?? message}). ${OPERATOR}`,
      verdict: 'LATER',
      status: undefined,
    };
  }
  const isOfMessage = command === 'RCPT TO' || command === 'DATA';
  // RFC 3463, section 3.8: who may send, such as no relaying
  const isPolicy = /^\d{3}[ -]5\.7\.\d/.test(response ?? '');
  const isFinal = isOfMessage && responseCode >= 500 && !OWN_FAULTS.has(responseCode) && !isPolicy;
  const text = `The mail server answered to ${command ?? 'the connection'}: ${response ?? responseCode}`;
  return { text, verdict: isFinal ? 'REJECTED' : 'LATER', status: responseCode };
}

function faultOf(error: unknown) {
  const fields: Record<string, unknown> = error instanceof Error ? { ...error } : {};
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : undefined);
  return {
    code: text('code'),
    originalCode: text('originalCode'),
    command: text('command'),
    response: text('response'),
    responseCode: typeof fields.responseCode === 'number' ? fields.responseCode : undefined,
    message: error instanceof Error ? error.message : String(error),
  };
}

function mailOf(message: AlertMessage, { from, address }: { from: MailSettings['from']; address: string }) {
  const content = contentOf(message);
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1);
  const id =
    message.kind === 'ALERT' ? message.alert.deliveryId : message.kind === 'DIGEST' ? message.id : message.deliveryId;
  const incidentId = message.kind === 'ALERT' ? message.alert.incident?.id : undefined;
  const thread = incidentId === undefined ? undefined : `<incident-${incidentId}@${domain}>`;
  return {
    from,
    to: { name: '', address },
    envelope: { from: from.address, to: [address] },
    messageId: `<${id}@${domain}>`,
    ...(thread && { inReplyTo: thread, references: [thread] }),
    subject: cut(content.title, SUBJECT_LENGTH_MAX),
    text: textOf(content),
    html: htmlOf(content),
    // Nobody's vacation note answers it: RFC 3834, and Exchange's own header.
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
  };
}

function textOf({ title, sentences, facts, logLines, link }: AlertContent): string {
  const parts = [
    [title, ...sentences].map(defused).join('\n'),
    facts.map(({ name, value }) => defused(`${name}: ${value}`)).join('\n'),
    logLines.length === 0 ? '' : `Last lines:\n${logLines.map((line) => `  ${defused(line)}`).join('\n')}`,
    safeLink(link) ?? '',
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function htmlOf({ title, sentences, facts, logLines, link: given }: AlertContent): string {
  const link = safeLink(given);
  const rows = facts.map(({ name, value }) => `<tr><td>${html(name)}</td><td>${html(value)}</td></tr>`);
  return [
    '<!doctype html><html><head><meta charset="utf-8"></head><body>',
    `<h3>${html(title)}</h3>`,
    ...sentences.map((sentence) => `<p>${html(sentence)}</p>`),
    rows.length === 0 ? '' : `<table cellpadding="4">${rows.join('')}</table>`,
    logLines.length === 0 ? '' : `<p>Last lines:</p><pre>${html(logLines.join('\n'))}</pre>`,
    link === undefined ? '' : `<p><a href="${html(link, String)}">Open in Chronoverse</a></p>`,
    '</body></html>',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

const ENTITIES: Partial<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function html(text: string, safe: (text: string) => string = defused): string {
  return safe(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
