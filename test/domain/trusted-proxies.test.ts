import { describe, expect, test } from 'vitest';
import { clientBehind, parseTrustedProxies, type TrustedProxies } from '../../domain/network/trusted-proxies.ts';

function trust(text: string): TrustedProxies {
  const parsed = parseTrustedProxies(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

describe('the address of a client behind proxies', () => {
  test.each([
    ['false', '10.0.0.1', '1.1.1.1', undefined],
    ['0', '10.0.0.1', '1.1.1.1', undefined],
    ['true', '10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['true', '10.0.0.1', '6.6.6.6, 1.1.1.1', '1.1.1.1'],
    ['true', '10.0.0.1', '', '10.0.0.1'],
    ['2', '10.0.0.1', '6.6.6.6, 1.1.1.1, 10.0.0.2', '1.1.1.1'],
    ['2', '10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['10.0.0.0/8', '10.0.0.1', '6.6.6.6, 1.1.1.1, 10.0.0.2', '1.1.1.1'],
    ['10.0.0.0/8', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['10.0.0.0/8', '1.2.3.4', '1.1.1.1', undefined],
    ['10.0.0.0/8', '::ffff:10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['private,loopback', '::1', '1.1.1.1, 192.168.0.1', '1.1.1.1'],
    ['fd00::/8', 'fd00::1', '2001:db8::1', '2001:db8::1'],
    ['true', '10.0.0.1', '1.1.1.1:5555', '1.1.1.1'],
    ['true', '10.0.0.1', '[2001:db8::1]:5555', '2001:db8::1'],
    ['true', '10.0.0.1', '1.1.1.1, unknown', '10.0.0.1'],
    ['2', '10.0.0.1', 'evil" text, 10.0.0.2', '10.0.0.2'],
    ['private', 'unknown', '1.1.1.1', undefined],
  ])('TRUST_PROXY=%s, peer %s, X-Forwarded-For "%s": %s', (setting, peer, forwardedFor, client) => {
    expect(clientBehind(trust(setting), peer, forwardedFor)).toBe(client);
  });

  test.each(['', 'yes', '11', '-1', 'public', '10.0.0.0/8,public', '10.0.0.1/8', 'proxy.example'])(
    'TRUST_PROXY cannot be "%s"',
    (text) => expect(parseTrustedProxies(text)).toEqual(expect.any(String)),
  );
});
