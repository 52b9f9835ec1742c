import { describe, expect, test } from 'vitest';
import { answering, check, nameServer, outcome } from './support.ts';

const cookieOf = (request: string | undefined) => /\r\ncookie: ([^\r]*)\r\n/.exec(request ?? '')?.[1];
const moved = (to: string, ...cookies: string[]) =>
  `HTTP/1.1 302 Found\r\n${cookies.map((one) => `Set-Cookie: ${one}\r\n`).join('')}Location: ${to}\r\nContent-Length: 0\r\n\r\n`;
const PAGE = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('the cookies of a heartbeat', () => {
  test('return to the page that set them before a redirect', async () => {
    const { endpoint, requests } = await answering(moved('/', 'visited=1; Path=/; HttpOnly', 'a=b'), PAGE);
    expect(outcome(await check({ endpoint, body_contains: 'ok' }))).toBe('ok');
    expect(requests.map(cookieOf)).toEqual([undefined, 'visited=1; a=b']);
  });

  test('go only where their path and domain say, and end with the check', async () => {
    const other = await answering(moved('http://shop.example.test/', 'c=other'), PAGE);
    const { names } = await nameServer(() => ['127.0.0.1']);
    const port = other.host.split(':')[1];
    const first = await answering(
      moved(
        '/deep/er',
        'host=1',
        'domain=2; Domain=example.test',
        'deep=3; Path=/deep',
        'else=4; Path=/else',
        'suffix=5; Domain=test',
        'foreign=6; Domain=example.org',
        'gone=7; Max-Age=0',
      ),
      moved(`http://example.test:${port}/`),
    );
    const endpoint = `http://shop.example.test:${first.host.split(':')[1]}/`;
    expect(outcome(await check({ endpoint }, { names }))).toMatch(/No connection|could not be/);
    expect(first.requests.map(cookieOf)).toEqual([undefined, 'deep=3; host=1; domain=2']);
    expect(other.requests.map(cookieOf)).toEqual(['domain=2']);
    await check({ endpoint }, { names });
    expect(cookieOf(first.requests[2])).toBeUndefined();
  });

  test('replace those of the payload, which stay with their origin', async () => {
    const other = await answering(PAGE);
    const { endpoint, requests } = await answering(
      moved('/a', 'sid=new'),
      moved(`http://${other.host.replace('127.0.0.1', 'localhost')}/`),
    );
    const { names } = await nameServer(() => ['127.0.0.1']);
    const headers = { Cookie: 'sid=old; lang=de' };
    expect(outcome(await check({ endpoint, headers }, { names }))).toBe('ok');
    expect(requests.map(cookieOf)).toEqual(['sid=old; lang=de', 'lang=de; sid=new']);
    expect(other.requests.map(cookieOf)).toEqual([undefined]);
  });

  test('keep their bytes, and nothing that is no cookie does harm', async () => {
    const { endpoint, requests } = await answering(
      moved('/', 'name=gr\xf6\xdfer', '', ';', '=x', 'bad\x01=y', `long=${'x'.repeat(5_000)}`),
      PAGE,
    );
    expect(outcome(await check({ endpoint }))).toBe('ok');
    expect(cookieOf(requests[1])).toMatch(/^name=gr\xf6\xdfer(?!.*long)/);
  });

  test('may name a host that has no dot, or an absolute one, as their domain', async () => {
    const { names } = await nameServer(() => ['127.0.0.1']);
    for (const host of ['app', 'github.io', 'localhost', 'shop.test.']) {
      const domain = host.replace(/\.$/, '');
      const { host: address, requests } = await answering(moved('/', `a=1; Domain=${domain}`, 'b=2'), PAGE);
      expect(outcome(await check({ endpoint: `http://${host}:${address.split(':')[1]}/` }, { names }))).toBe('ok');
      expect(cookieOf(requests[1])).toBe('a=1; b=2');
    }
  });

  test('may have long attributes, up to 8 KiB', async () => {
    const withLength = (name: string, length: number) => `${name}=1; Comment=${'x'.repeat(length)}`;
    const { endpoint, requests } = await answering(moved('/', withLength('a', 5_000), withLength('b', 9_000)), PAGE);
    expect(outcome(await check({ endpoint }))).toBe('ok');
    expect(cookieOf(requests[1])).toBe('a=1');
  });

  test('are read up to 180, and those without a value count', async () => {
    const many = [...Array<string>(100).fill(''), ...Array.from({ length: 100 }, (_, n) => `c${n}=x`)];
    const { endpoint, requests } = await answering(moved('/', ...many), PAGE);
    expect(outcome(await check({ endpoint }))).toBe('ok');
    expect(cookieOf(requests[1])?.split('; ').at(-1)).toBe('c79=x');
  });

  test('are kept up to 64 KiB', async () => {
    const many = Array.from({ length: 60 }, (_, n) => `c${n}=${'x'.repeat(3_000)}`);
    const { endpoint, requests } = await answering(moved('/', ...many), PAGE);
    expect(outcome(await check({ endpoint }))).toBe('ok');
    expect(cookieOf(requests[1])?.length).toBeGreaterThan(60 * 1024);
    expect(cookieOf(requests[1])?.length).toBeLessThan(66 * 1024);
  });
});
