import { simpleParser } from 'mailparser';
import type { SMTPServerOptions } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AlertMessage } from '../../domain/alerts/alert.ts';
import { parseMailFrom, parseSmtpUrl } from '../../domain/alerts/smtp.ts';
import { createSender } from '../../workers/alerting/send.ts';
import { policy } from '../heartbeat/policy.ts';
import { raw } from '../heartbeat/support.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { mailServer } from './mail-server.ts';
import { alert, digestOf, HOSTILE, messageOf, sendOnce } from './messages.ts';

const refusal = (code: number, text = 'no') => Object.assign(new Error(text), { responseCode: code });

const TO = { kind: 'EMAIL', address: 'ops@example.org' } as const;
const FROM = 'Chronoverse <alerts@example.com>';

function mail(
  url: string,
  message: AlertMessage = messageOf(),
  changes: { ca?: string; timeoutSeconds?: number } = {},
) {
  const { timeoutSeconds = 10, ca } = changes;
  return sendOnce(TO, message, { smtp: { url, from: FROM, ca }, timeoutSeconds });
}

describe('an alert by e-mail', () => {
  test('has text and HTML, is marked as automatic, and threads by its incident', async () => {
    const { host, mails } = await mailServer();
    const begun = alert();
    const over = alert({ event: 'WORKFLOW_RECOVERED', incident: begun.incident });
    for (const one of [begun, over])
      expect(await mail(`smtp://${host}`, { kind: 'ALERT', alert: one })).toEqual({
        outcome: 'DELIVERED',
        status: 250,
      });
    expect(mails[0]).toMatchObject({ from: 'alerts@example.com', to: ['ops@example.org'] });
    const [first, second] = await Promise.all(mails.map(({ raw }) => simpleParser(raw)));
    const thread = `<incident-${begun.incident?.id}@example.com>`;
    expect(first).toMatchObject({ subject: 'backup is failing', messageId: `<${begun.deliveryId}@example.com>` });
    expect([first?.inReplyTo, second?.inReplyTo]).toEqual([thread, thread]);
    expect([first?.references, second?.references].flat()).toEqual([thread, thread]);
    expect(first?.headers.get('auto-submitted')).toBe('auto-generated');
    expect(first?.headers.get('x-auto-response-suppress')).toBe('All');
    expect(first?.headers.get('from')).toMatchObject({
      value: [{ name: 'Chronoverse', address: 'alerts@example.com' }],
    });
    expect(first?.text).toContain('The container exited with code 1.');
    expect(first?.text).toContain('  disk is full');
    expect(first?.text).toContain('https://chronoverse.example.com/workflows/1');
    expect(first?.html).toContain('<pre>copying\ndisk is full</pre>');
    expect(first?.html).toContain('<a href="https://chronoverse.example.com/workflows/1">Open in Chronoverse</a>');
    expect(first?.attachments).toEqual([]);
  });

  test('has no header, link or markup of a user', async () => {
    const { host, mails } = await mailServer();
    const message = messageOf({ reason: HOSTILE, workflow: { id: 'w', name: HOSTILE }, logLines: [HOSTILE] });
    await mail(`smtp://${host}`, message);
    const [received] = mails;
    const parsed = await simpleParser(received?.raw ?? '', { skipTextLinks: true });
    expect(received?.to).toEqual(['ops@example.org']);
    expect(parsed.headers.has('bcc')).toBe(false);
    expect(parsed.subject).toMatch(/Bcc: a@/); // a part of the subject
    const html = String(parsed.html);
    expect(html).not.toContain('<script');
    expect(html.match(/<a /g)).toHaveLength(1);
    const own = 'https://chronoverse.example.com/workflows/1';
    for (const text of [html, parsed.text ?? '']) {
      expect(text.replaceAll(own, '')).not.toContain('://');
      expect(text).not.toContain('\u202e');
    }
  });

  test('has at most 64 KiB, however long its parts are', async () => {
    const { host, mails } = await mailServer();
    const long = { reason: '<世>"'.repeat(20_000), logLines: Array.from({ length: 20 }, () => '&"<'.repeat(500)) };
    await mail(`smtp://${host}`, messageOf(long));
    await mail(`smtp://${host}`, digestOf(1_000, 20, { workflow: { id: 'w', name: '"<世'.repeat(80) } }));
    expect(mails).toHaveLength(2);
    for (const { raw } of mails) expect(Buffer.byteLength(raw)).toBeLessThan(64 * 1024);
  });

  test('names the alerts of a digest', async () => {
    const { host, mails } = await mailServer();
    const message = digestOf(30, 25);
    await mail(`smtp://${host}`, message);
    const parsed = await simpleParser(mails[0]?.raw ?? '');
    expect(parsed.subject).toBe('30 alerts');
    expect(parsed.messageId).toBe(`<${message.kind === 'DIGEST' ? message.id : ''}@example.com>`);
    expect(parsed.text).toContain('10 more');
  });

  test('asks for a confirmation with the code and nothing else', async () => {
    const { host, mails } = await mailServer();
    await mail(`smtp://${host}`, { kind: 'CONFIRMATION', deliveryId: 'd1', code: '482913' });
    const { text = '', subject } = await simpleParser(mails[0]?.raw ?? '');
    expect(text).toContain('482913');
    expect(text).toContain('If you did not ask for this, ignore this message');
    expect(subject).toBe('Confirm this address for alerts of Chronoverse');
    expect(text).not.toContain('http');
  });

  test('reads no file and no page for what a user writes', async () => {
    const { host, mails } = await mailServer();
    const name = JSON.stringify({ path: '/etc/hostname', href: 'http://127.0.0.1:1/' });
    expect(await mail(`smtp://${host}`, messageOf({ workflow: { id: 'w', name } }))).toMatchObject({
      outcome: 'DELIVERED',
    });
    expect((await simpleParser(mails[0]?.raw ?? '')).subject).toContain('/etc/hostname');
  });
});

describe('the answer of a mail server', () => {
  test('451 is tried later, and then 250 is delivered', async () => {
    let asked = 0;
    const { host, mails } = await mailServer({
      onRcptTo(_, __, done) {
        asked += 1;
        done(asked === 1 ? refusal(451, 'greylisted') : null);
      },
    });
    expect(await mail(`smtp://${host}`)).toMatchObject({
      ...{ outcome: 'FAILED', verdict: 'LATER', status: 451, error: expect.stringContaining('greylisted') },
    });
    expect(await mail(`smtp://${host}`)).toMatchObject({ outcome: 'DELIVERED' });
    expect(mails).toHaveLength(1);
  });

  test('550 to the recipient or to the message is final', async () => {
    const ofRecipient = await mailServer({ onRcptTo: (_, __, done) => done(refusal(550, 'no such user')) });
    expect(await mail(`smtp://${ofRecipient.host}`)).toMatchObject({
      ...{ verdict: 'REJECTED', status: 550, error: expect.stringMatching(/RCPT TO: 550 no such user/) },
    });
    const ofMessage = await mailServer({
      onData(stream, _, done) {
        stream.resume().on('end', () => done(refusal(554, 'spam')));
      },
    });
    expect(await mail(`smtp://${ofMessage.host}`)).toMatchObject({ verdict: 'REJECTED', status: 554 });
  });

  test('5xx to the connection, the login or the sender is for the operator to fix', async () => {
    const ofConnection = await mailServer({ onConnect: (_, done) => done(refusal(554)) });
    expect(await mail(`smtp://${ofConnection.host}`)).toMatchObject({ verdict: 'LATER' });
    const ofSender = await mailServer({ onMailFrom: (_, __, done) => done(refusal(553)) });
    expect(await mail(`smtp://${ofSender.host}`)).toMatchObject({ verdict: 'LATER', status: 553 });
    const needsLogin = await mailServer({ onRcptTo: (_, __, done) => done(refusal(530)) });
    expect(await mail(`smtp://${needsLogin.host}`)).toMatchObject({ verdict: 'LATER', status: 530 });
  });

  test('that never comes ends the attempt in time', async () => {
    const { host } = await raw((socket) => socket.resume());
    const outcome = await mail(`smtp://${host}`, messageOf(), { timeoutSeconds: 1 });
    expect(outcome).toMatchObject({ verdict: 'LATER', error: expect.stringMatching(/Timed out after 1 s|ETIMEDOUT/) });
    const slow = await raw((socket) => {
      const timer = setInterval(() => socket.write('220-wait\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    expect(await mail(`smtp://${slow.host}`, messageOf(), { timeoutSeconds: 1 })).toMatchObject({ verdict: 'LATER' });
  });

  test('is not awaited when the caller aborts', async () => {
    const abort = new AbortController();
    const { host } = await raw((socket) => {
      socket.resume();
      abort.abort();
    });
    const smtp = { url: `smtp://${host}`, from: FROM };
    const error = 'The attempt was stopped before it ended.';
    expect(await sendOnce(TO, messageOf(), { smtp, signal: abort.signal })).toMatchObject({ error, verdict: 'LATER' });
    expect(await sendOnce(TO, messageOf(), { smtp, signal: abort.signal })).toMatchObject({ error, verdict: 'LATER' });
  });

  test('is none where nobody listens', async () => {
    const { host, server } = await raw(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    expect(await mail(`smtp://${host}`)).toMatchObject({
      verdict: 'LATER',
      error: expect.stringContaining('ECONNREFUSED'),
    });
    expect(await sendOnce(TO)).toMatchObject({ verdict: 'LATER', error: expect.stringContaining('SMTP_URL') });
  });
});

describe('a mail server with TLS and a login', () => {
  let authority: Authority;
  beforeAll(async () => {
    authority = await makeAuthority();
  });
  afterAll(() => authority.close());

  const PASSWORD = 'p@ss/wörd:hidden';
  const withLogin = (port: number, rest = '') =>
    `smtp://alerts:${encodeURIComponent(PASSWORD)}@localhost:${port}${rest}`;
  function secured(options: SMTPServerOptions = {}) {
    const { cert, key } = authority.issue('mail', ['DNS:localhost', 'IP:127.0.0.1']);
    return mailServer({
      ...{ cert, key },
      onAuth: ({ username, password }, _, done) =>
        done(password === PASSWORD ? null : refusal(535, `bad password ${password}`), { user: username ?? '' }),
      ...options,
    });
  }

  test('gets the login and the message over STARTTLS', async () => {
    const { port, mails } = await secured();
    for (const rest of ['', '/?requireTLS', '?requireTLS=true'])
      expect(await mail(withLogin(port, rest), messageOf(), { ca: authority.ca })).toMatchObject({
        outcome: 'DELIVERED',
      });
    expect(mails).toMatchObject(Array(3).fill({ isSecure: true, user: 'alerts' }));
  });

  test('gets them over TLS from the start', async () => {
    const { port, mails } = await secured({ secure: true });
    const url = withLogin(port).replace('smtp:', 'smtps:');
    expect(await mail(url, messageOf(), { ca: authority.ca })).toMatchObject({ outcome: 'DELIVERED' });
    expect(mails).toMatchObject([{ isSecure: true, user: 'alerts' }]);
  });

  test('gets nothing if its certificate is wrong', async () => {
    const { port, mails } = await secured();
    const outcome = await mail(withLogin(port), messageOf());
    expect(outcome).toMatchObject({ verdict: 'LATER' });
    expect(JSON.stringify(outcome)).not.toContain('hidden');
    expect(mails).toEqual([]);
  });

  test('gets nothing if TLS is required and it offers none', async () => {
    const { host, mails } = await mailServer();
    expect(await mail(`smtp://${host}?requireTLS`)).toMatchObject({ outcome: 'FAILED', verdict: 'LATER' });
    expect(mails).toEqual([]);
  });

  test('that refuses the login is for the operator to fix, and the password stays hidden', async () => {
    const { port } = await secured({
      onAuth: ({ password }, _, done) => done(refusal(535, `bad password ${password}`)),
    });
    const outcome = await mail(withLogin(port), messageOf(), { ca: authority.ca });
    expect(outcome).toMatchObject({ verdict: 'LATER', status: 535, error: expect.stringContaining('SMTP_URL') });
    expect(JSON.stringify(outcome)).not.toContain('hidden');
  });
});

describe('the settings of e-mail', () => {
  test('are parsed', () => {
    expect(parseSmtpUrl('smtp://mail.example.com')).toEqual({
      ...{ host: 'mail.example.com', port: 587, isSecure: false, requiresTls: false, login: undefined },
    });
    expect(parseSmtpUrl('smtps://a%40b:c%2Fd@[::1]:4650/?requireTLS')).toEqual({
      ...{ host: '::1', port: 4650, isSecure: true, requiresTls: true },
      login: { user: 'a@b', password: 'c/d' },
    });
    expect(parseMailFrom('alerts@example.com')).toEqual({ name: '', address: 'alerts@example.com' });
    expect(parseMailFrom('"Ops, all" <a@b.c>')).toEqual({ name: 'Ops, all', address: 'a@b.c' });
  });

  test.each([
    '',
    'mail.example.com',
    'http://mail',
    'smtp://',
    'smtp://a:pa/ss@mail',
    'smtp://mail?pool=true',
    'smtp://mail?requireTLS=1',
    'smtp://a:%@mail',
  ])('are refused with a sentence: %j', (url) => {
    expect(parseSmtpUrl(url)).toEqual(expect.stringMatching(/\.$/));
    expect(() => createSender({ allow: policy('public'), smtp: { url, from: FROM } })).toThrow(/^SMTP_URL: /);
  });

  test.each(['', 'ops', 'a@b, c@d', 'a@b\r\nX: y', '<a@b> c'])('refuse as MAIL_FROM: %j', (from) => {
    expect(() => createSender({ allow: policy('public'), smtp: { url: 'smtp://mail', from } })).toThrow(/^MAIL_FROM: /);
  });
});
