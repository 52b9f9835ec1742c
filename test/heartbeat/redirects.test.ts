import { createServer, type IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import { answering, check, listening, nameServer, outcome } from './support.ts';

const PAGE = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const moved = (location: string, status = '302 Found') =>
  `HTTP/1.1 ${status}\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`;

describe('a heartbeat that is redirected', () => {
  test.each([
    ['ftp://files.test/', 'ftp://files.test/'],
    ['mailto:ann@example.test', 'mailto:ann@example.test'],
    ['//127.0.0.1:99999/', '//127.0.0.1:99999/'],
    ['http://', 'http://'],
    ['tcp://127.0.0.1:1', 'tcp://127.0.0.1:1'],
    ['ftp://ann:s3cret@files.test/', 'ftp://files.test/'],
    ['https:ann:s3cret@[bad/', 'https:[bad/'],
  ])('says that it cannot follow %s', async (location, shown) => {
    const { endpoint } = await answering(moved(location));
    expect(outcome(await check({ endpoint }))).toBe(
      `CHECK_FAILED: ${endpoint} redirected to ${shown}. A redirect to http or https was expected.`,
    );
  });

  test('shows no user name and password of a Location', async () => {
    for (const location of ['http://ann:s3cret@127.0.0.1:1/x', '//ann:s3cret@127.0.0.1:1/x', '\\\\ann:p@ss@h/x']) {
      const { endpoint } = await answering(moved(location));
      for (const payload of [{ max_redirects: 0 }, { follow_redirects: false }]) {
        const said = outcome(await check({ endpoint, ...payload }));
        expect(said).toMatch(/(127\.0\.0\.1:1|\\\\h)\/x/);
        expect(said).not.toMatch(/ann|s3cret|ss@/);
      }
    }
  });

  test('leaves room for the status and the body behind a long address, reason or Location', async () => {
    const long = 'x'.repeat(3_000);
    const { endpoint } = await answering(moved(`/?${long}`), `HTTP/1.1 503 ${long}\r\nLocation: ${long}\r\n\r\nwhy`);
    expect(outcome(await check({ endpoint }))).toMatch(
      /^CHECK_FAILED: GET \S+\?x+… answered 503 x+… \(to x+…\)\. Any 2xx was expected\. Its body \(3 bytes\) begins "why"\.$/,
    );
  });

  test('takes an empty Location for none', async () => {
    const { endpoint } = await answering(moved(''));
    expect(outcome(await check({ endpoint }))).toMatch(/answered 302 Found\. Any 2xx was expected\.$/);
  });

  test('sends no header of a body that it drops, and all with a body that stays', async () => {
    const headers = { 'Content-Type': 'text/x', 'Content-Language': 'de', 'X-Own': '1' };
    const post = { method: 'POST', body: 'hello', headers } as const;
    const dropped = await answering(moved('/a', '303 See Other'), moved('/b', '307 Again'), PAGE);
    expect(outcome(await check({ endpoint: dropped.endpoint, ...post }))).toBe('ok');
    for (const request of dropped.requests.slice(1)) {
      expect(request).toMatch(/^GET /);
      expect(request).toMatch(/\r\nx-own: 1\r\n/);
      expect(request).not.toMatch(/content-/);
    }
    const kept = await answering(moved('/a', '308 Moved'), PAGE);
    expect(outcome(await check({ endpoint: kept.endpoint, ...post }))).toBe('ok');
    expect(kept.requests[1]).toMatch(/^POST \/a .*\r\ncontent-type: text\/x\r\n.*\r\n\r\nhello$/s);
  });

  test('sends its headers again when another origin leads back, and nothing of that origin', async () => {
    const { names } = await nameServer(() => ['127.0.0.1']);
    const seen: Record<string, string | undefined>[] = [];
    const see = ({ authorization, 'x-own': own }: IncomingHttpHeaders) =>
      seen.push({ authorization, own: String(own) });
    let back = '';
    const other = await listening(
      createServer(({ headers }, response) => {
        see(headers);
        response.writeHead(302, { location: back }).end();
      }),
    );
    const { host } = await listening(
      createServer(({ headers, url }, response) => {
        see(headers);
        const location = `http://ann:s3cret@other.test:${other.port}/`;
        response.writeHead(url === '/' ? 302 : 200, { location }).end();
      }),
    );
    back = `http://${host}/back`;
    const headers = { 'X-Own': '1' };
    expect(outcome(await check({ endpoint: `http://${host}/`, headers }, { names }))).toBe('ok');
    const authorization = `Basic ${Buffer.from('ann:s3cret').toString('base64')}`;
    expect(seen).toEqual([{ own: '1' }, { authorization, own: 'undefined' }, { own: '1' }]);
  });
});
