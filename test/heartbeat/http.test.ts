import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { check, listening, outcome, raw, texts } from './support.ts';

const serve = (handler: (request: IncomingMessage, response: ServerResponse) => void) =>
  listening(http.createServer(handler));

describe('a heartbeat over HTTP', () => {
  test('succeeds with any 2xx, and logs the address, the status and the time of each phase', async () => {
    const { host } = await serve((_, response) => response.writeHead(204, 'Nothing here').end());
    const result = await check({ endpoint: `http://user:secret@${host}/health?x=1` });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toEqual([
      `GET http://${host}/health?x=1`,
      expect.stringMatching(`^Connected to ${host} in [\\d.]+ ms\\.$`),
      expect.stringMatching(/^204 Nothing here: first byte after [\d.]+ ms, 0 bytes after [\d.]+ ms\.$/),
    ]);
    expect(result.lines[0]?.timestamp).toBeInstanceOf(Date);
  });

  test('names the received and the expected status', async () => {
    const { host } = await serve((_, response) => response.writeHead(503).end('down'));
    const result = await check({ endpoint: `http://${host}/` });
    expect(outcome(result)).toBe(
      `CHECK_FAILED: GET http://${host}/ answered 503 Service Unavailable. Any 2xx was expected. Its body (4 bytes) begins "down".`,
    );
    expect(result.lines.at(-1)).toMatchObject({ stream: 'STDERR', text: expect.stringContaining('Any 2xx') });
    const other = await check({ endpoint: `http://${host}/`, expected_status: [200, 404] });
    expect(outcome(other)).toContain('200 or 404 was expected.');
    const ranges = await check({
      endpoint: `http://${host}/`,
      expected_status: [200],
      expected_status_ranges: ['3xx'],
    });
    expect(outcome(ranges)).toContain('200 or 3xx was expected.');
    for (const range of ['5xx', '500-503', '503-599'])
      expect(outcome(await check({ endpoint: `http://${host}/`, expected_status_ranges: [range] }))).toBe('ok');
    const beside = { expected_status: [503], expected_status_ranges: ['2xx'] };
    expect(outcome(await check({ endpoint: `http://${host}/`, ...beside }))).toBe('ok');
    expect(outcome(await check({ endpoint: `http://${host}/`, expected_status: [503] }))).toBe('ok');
  });

  test('sends method, headers and body, and frames them itself', async () => {
    const seen: unknown[] = [];
    const { host } = await serve(async (request, response) => {
      const body = (await request.toArray()).join('');
      seen.push(request.method, request.headers, body);
      response.end();
    });
    const headers = { 'X-Token': 'abc', Authorization: 'Bearer t', 'User-Agent': 'mine', 'Content-Length': '3' };
    expect(outcome(await check({ endpoint: `http://${host}/`, method: 'POST', headers, body: 'größer' }))).toBe('ok');
    expect(seen).toEqual([
      'POST',
      expect.objectContaining({
        'x-token': 'abc',
        authorization: 'Bearer t',
        'user-agent': 'mine',
        'content-length': '8',
        host,
      }),
      'größer',
    ]);
    const bad = await check({ endpoint: `http://${host}/`, headers: { 'X-Bad': 'a\nb' } });
    expect(outcome(bad)).toMatch(/^CHECK_FAILED: The request could not be made/);
  });

  test('sends headers with names that JavaScript treats specially', async () => {
    const seen: string[] = [];
    const { host } = await serve((request, response) => {
      seen.push(...request.rawHeaders);
      response.end();
    });
    const headers = { constructor: 'a', ['__proto__']: 'b' };
    expect(outcome(await check({ endpoint: `http://${host}/`, headers }))).toBe('ok');
    expect(seen).toEqual(expect.arrayContaining(['constructor', 'a', '__proto__', 'b']));
  });

  test('finds a text that arrives in pieces, and shows a body that lacks it', async () => {
    const { host } = await serve(async (_, response) => {
      for (const piece of ['all sys', 'tems', ' gö\0'])
        await new Promise<void>((resolve) => response.write(piece, () => setImmediate(resolve)));
      response.end();
    });
    expect(outcome(await check({ endpoint: `http://${host}/`, body_contains: 'systems gö' }))).toBe('ok');
    expect(outcome(await check({ endpoint: `http://${host}/`, body_contains: 'pong' }))).toBe(
      `CHECK_FAILED: GET http://${host}/ answered 200 OK with a body (16 bytes) that begins "all systems gö\\u0000". ` +
        'One that contains "pong" was expected.',
    );
  });

  test('fails on a text that must not appear, wherever it stands', async () => {
    const { host } = await serve(async (_, response) => {
      for (const piece of ['all sys', 'tems go'])
        await new Promise<void>((resolve) => response.write(piece, () => setImmediate(resolve)));
      response.end();
    });
    const endpoint = `http://${host}/`;
    expect(outcome(await check({ endpoint, body_not_contains: 'systems' }))).toBe(
      `CHECK_FAILED: GET ${endpoint} answered 200 OK with a body (14 bytes) that contains "systems". One without it was expected.`,
    );
    expect(outcome(await check({ endpoint, body_not_contains: 'error' }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_contains: 'all', body_not_contains: 'go' }))).toMatch(/contains "go"/);
    expect(outcome(await check({ endpoint, body_contains: 'no', body_not_contains: 'go' }))).toMatch(/contains "no"/);
  });

  test('ends with the headers of an endless stream where no body is wanted', async () => {
    const { host } = await serve(({ url }, response) => {
      response.writeHead(url === '/' ? 200 : 500, { 'content-type': 'text/event-stream' }).flushHeaders();
    });
    const result = await check({ endpoint: `http://${host}/`, headers_only: true, timeout_seconds: 300 });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toMatch(/^200 OK: first byte after [\d.]+ ms\.$/);
    const failed = await check({ endpoint: `http://${host}/x`, headers_only: true, timeout_seconds: 300 });
    expect(outcome(failed)).toBe(
      `CHECK_FAILED: GET http://${host}/x answered 500 Internal Server Error. Any 2xx was expected.`,
    );
  });

  test('shows the first 200 characters of the body of an unexpected status', async () => {
    const { host } = await serve((_, response) => response.writeHead(500).end(`No database: ${'ü'.repeat(500)}`));
    const result = await check({ endpoint: `http://${host}/` });
    const shown = `Its body (1013 bytes) begins "No database: ${'ü'.repeat(187)}".`;
    expect(outcome(result)).toContain(`Any 2xx was expected. ${shown}`);
    expect(texts(result).at(-1)).toContain(shown);
  });

  test('follows redirects unless it must not, or the redirect is the expected answer', async () => {
    const { host } = await serve(({ url }, response) => {
      if (url === '/old') response.writeHead(302, { location: '/new' }).end();
      else response.end('new');
    });
    const endpoint = `http://${host}/old`;
    const followed = await check({ endpoint, body_contains: 'new' });
    expect(outcome(followed)).toBe('ok');
    expect(texts(followed)).toContain(`Redirected to http://${host}/new.`);
    expect(outcome(await check({ endpoint, follow_redirects: false }))).toMatch(
      /answered 302 Found \(to \/new\)\. Any 2xx/,
    );
    expect(outcome(await check({ endpoint, expected_status: [302] }))).toBe('ok');
    expect(outcome(await check({ endpoint, expected_status: [302], body_contains: 'new' }))).toMatch(/0 bytes/);
  });

  test('stops after 5 redirects and at other schemes', async () => {
    const { host } = await serve(({ url }, response) => {
      response.writeHead(307, { location: url === '/loop' ? '/loop' : (url ?? '').slice(1) }).end();
    });
    expect(outcome(await check({ endpoint: `http://${host}/loop` }))).toMatch(
      /^CHECK_FAILED: .* redirected more than 5 times/,
    );
    const often = await check({ endpoint: `http://${host}/loop`, max_redirects: 20 });
    expect(outcome(often)).toMatch(/ redirected more than 20 times, at last to \/loop\./);
    expect(texts(often).filter((text) => text.startsWith('Redirected'))).toHaveLength(20);
    expect(outcome(await check({ endpoint: `http://${host}/loop`, max_redirects: 0 }))).toMatch(
      /redirected to \/loop\. No redirect was expected\.$/,
    );
    for (const target of ['tcp://127.0.0.1:22', 'dns://localhost', 'file:///etc/passwd', 'http://', 'gopher://x'])
      expect(outcome(await check({ endpoint: `http://${host}/${target}` }))).toMatch(
        /A redirect to http or https was expected/,
      );
  });

  test('accepts 101 where it is expected', async () => {
    const { host } = await raw((socket) => {
      socket.once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nx'),
      );
    });
    const headers = { connection: 'upgrade', upgrade: 'websocket' };
    expect(outcome(await check({ endpoint: `http://${host}/`, headers, expected_status: [101] }))).toBe('ok');
    expect(outcome(await check({ endpoint: `http://${host}/`, headers }))).toMatch(
      /answered 101 Switching Protocols\. Any 2xx/,
    );
  });

  test('sends no secret to another origin, and a POST becomes a GET where browsers do the same', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      seen.push(
        request.method,
        request.headers.authorization,
        request.headers['x-token'] as string,
        request.headers.host,
      );
      response.end();
    });
    const { host } = await serve((_, response) => response.writeHead(302, { location: `http://${other.host}/` }).end());
    const headers = { authorization: 'Bearer t', 'x-token': 'abc' };
    expect(outcome(await check({ endpoint: `http://${host}/`, method: 'POST', body: 'x', headers }))).toBe('ok');
    expect(seen).toEqual(['GET', undefined, undefined, other.host]);
  });
});
