import { describe, expect, test } from 'vitest';
import { parseTarget, shownTarget } from '../../domain/alerts/target.ts';
import { policy } from '../heartbeat/policy.ts';

const usual = policy('public,private');
const webhook = (url: string, allow = usual) => parseTarget({ webhook: { url } }, allow);
const email = (address: string) => parseTarget({ email: { address } }, usual);
const ntfy = (changes: { url?: string; topic?: string; token?: string }) =>
  parseTarget({ ntfy: { url: 'https://ntfy.sh', topic: 'backups', ...changes } }, usual);

describe('the URL of a target', () => {
  test.each([
    'https://hooks.slack.com/services/T0/B0/abcdefgh',
    'https://example.com',
    'HTTPS://EXAMPLE.com:8443/a?b=c',
    'https://127.0.0.1/hook', // each attempt fails, and names ALERT_ALLOW
    'https://169.254.169.254/latest',
    'http://10.1.2.3:9000/hook',
    'http://[fd00::1]/hook',
    'http://ntfy/hook',
    'http://ntfy.lan/hook',
    'http://alerts.internal/hook',
    'https://bücher.example/ä',
  ])('is taken: %s', (url) => {
    expect(webhook(url).problems).toBeUndefined();
  });

  test.each([
    ['', 'must be a URL'],
    ['hooks.slack.com/services', 'must be a URL'],
    ['ftp://example.com/a', 'must be a URL that begins with https://'],
    ['file:///etc/passwd', 'must be a URL'],
    ['javascript:alert(1)', 'must be a URL'],
    ['https:example.com', 'must be a URL'],
    ['https://', 'must be a URL'],
    ['https://user@example.com/', 'must not contain a user name or password'],
    ['https://user:password@example.com/', 'must not contain a user name or password'],
    ['https://example.com/a\r\nHost: b', 'control characters'],
    ['https://exam\tple.com/', 'control characters'],
    [' https://example.com/', 'spaces'],
    ['https://example.com/\0', 'NUL'],
    ['https://example.com/\ud800', 'surrogate'],
    [`https://example.com/${'a'.repeat(2_000)}`, 'at most 2000 characters'],
    [`https://example.com/${'ä'.repeat(1_000)}`, 'at most 2000 characters'],
    ['http://example.com/hook', 'must begin with https://'],
    ['http://93.184.216.34/hook', 'must begin with https://'],
    ['http://0x5db8d822/hook', 'must begin with https://'],
    ['http://127.0.0.1/hook', 'ALERT_ALLOW'],
    ['http://[::1]/hook', 'ALERT_ALLOW'],
    ['http://169.254.169.254/latest', 'ALERT_ALLOW'],
    ['http://[::ffff:8.8.8.8]/hook', 'must begin with https://'],
    ['https://outlook.office.com/webhook/abc', 'Workflows'],
    ['https://OUTLOOK.office.com/WebHook/abc', 'Workflows'],
    ['https://outlook.office365.com/webhook/abc', 'Workflows'],
    ['https://outlook.office.com./webhook/abc', 'Workflows'],
    ['https://contoso.webhook.office.com/webhookb2/abc', 'Workflows'],
  ])('is refused: %j', (url, problem) => {
    expect(webhook(url)).toEqual({
      problems: [{ path: ['target', 'webhook', 'url'], message: expect.stringContaining(problem) }],
    });
  });

  test('may go without TLS to loopback where ALERT_ALLOW allows that, and nowhere else', () => {
    const loopback = policy('loopback');
    expect(webhook('http://127.0.0.1:1/hook', loopback).problems).toBeUndefined();
    expect(webhook('http://localhost:1/hook', loopback).problems).toBeUndefined();
    expect(webhook('http://10.0.0.1/hook', loopback).problems).toHaveLength(1);
    expect(webhook('http://10.9.0.1/hook', policy('10.9.0.0/16')).problems).toBeUndefined();
    expect(webhook('http://ntfy/hook', policy('public')).problems).toHaveLength(1);
  });

  test('is stored without its fragment, which is never sent', () => {
    expect(webhook('https://example.com/a#b').value).toEqual({ kind: 'WEBHOOK', url: 'https://example.com/a' });
  });

  test('is under the path of its own kind', () => {
    const url = 'ftp://a';
    expect(parseTarget({ slack: { url } }, usual).problems?.[0]?.path).toEqual(['target', 'slack', 'url']);
    expect(parseTarget({ discord: { url } }, usual).problems?.[0]?.path).toEqual(['target', 'discord', 'url']);
  });
});

describe('the address of an e-mail', () => {
  test.each([
    'ops@example.com',
    'a.b+c@mail.example.co.uk',
    "o'neil@example.com",
    'ops@bücher.example',
    'jörg@example.com',
  ])('is taken: %s', (address) => {
    expect(email(address).value).toEqual({ kind: 'EMAIL', address });
  });

  test.each([
    '',
    'ops',
    '@example.com',
    'ops@',
    'a@b@example.com',
    'a@example.com,b@example.com',
    'a@example.com;b@example.com',
    'a@example.com b@example.com',
    'Ops <ops@example.com>',
    '<ops@example.com>',
    'ops@example.com\r\nBcc: x@example.com',
    'ops@example.com\n',
    '"a b"@example.com',
    '.a@example.com',
    'a..b@example.com',
    'ops@[127.0.0.1]',
    'ops@127.0.0.1',
    'ops@exam_ple.com',
    'ops@-example.com',
    'ops@example..com',
    'ops@example.com.',
    'o\u202eps@example.com',
    'o\0ps@example.com',
    `${'a'.repeat(65)}@example.com`,
    `a@${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.${'e'.repeat(60)}.example.com`,
  ])('is refused: %j', (address) => {
    expect(email(address).problems).toEqual([
      { path: ['target', 'email', 'address'], message: expect.stringMatching(/^must .*\.$/) },
    ]);
  });
});

describe('a target of ntfy', () => {
  test('is taken with a topic, and with a token', () => {
    expect(ntfy({ token: 'tk_abc' }).value).toEqual({
      ...{ kind: 'NTFY', url: 'https://ntfy.sh/', topic: 'backups', token: 'tk_abc' },
    });
    expect(ntfy({ topic: 'A-z_9' }).value).toMatchObject({ topic: 'A-z_9', token: undefined });
  });

  test.each([
    [{ topic: '' }, 'topic'],
    [{ topic: 'a/b' }, 'topic'],
    [{ topic: '../v1' }, 'topic'],
    [{ topic: 'a'.repeat(65) }, 'topic'],
    [{ topic: 'a\n' }, 'topic'],
    [{ token: '' }, 'token'],
    [{ token: 'a b' }, 'token'],
    [{ token: 'a\r\nX: y' }, 'token'],
    [{ token: 'é' }, 'token'],
    [{ token: 'a'.repeat(201) }, 'token'],
    [{ url: 'https://ntfy.sh/?auth=a' }, 'url'],
    [{ url: 'http://ntfy.sh/' }, 'url'],
  ])('is refused: %j', (changes, field) => {
    expect(ntfy(changes).problems).toEqual([{ path: ['target', 'ntfy', field], message: expect.any(String) }]);
  });
});

test('a target has exactly one kind', () => {
  expect(parseTarget({}, usual).problems).toEqual([
    { path: ['target'], message: expect.stringContaining('exactly one') },
  ]);
  const two = { webhook: { url: 'https://example.com' }, email: { address: 'ops@example.com' } };
  expect(parseTarget(two, usual).problems).toHaveLength(1);
  expect(parseTarget({ webhook: null, email: { address: 'ops@example.com' } }, usual).value?.kind).toBe('EMAIL');
});

test('a target is shown with its host and the last four characters of what is secret', () => {
  const shown = (url: string) => shownTarget({ kind: 'SLACK', url });
  expect(shown('https://hooks.slack.com/services/T0/B0/wxyzabcd')).toBe('hooks.slack.com/…abcd');
  expect(shown('https://example.com:8443/hook?key=0123456789')).toBe('example.com:8443/…6789');
  expect(shown('https://example.com/short')).toBe('example.com/…');
  expect(shownTarget({ kind: 'EMAIL', address: 'ops@example.com' })).toBe('ops@example.com');
  const ofNtfy = (topic: string) => shownTarget({ kind: 'NTFY', url: 'https://ntfy.sh/', topic, token: 'tk_secret' });
  expect(ofNtfy('long-topic-of-backups')).toBe('ntfy.sh/…kups');
  expect(ofNtfy('backups')).toBe('ntfy.sh/…');
});
