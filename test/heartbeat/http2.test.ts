import http from 'node:http';
import https from 'node:https';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { trustOf } from '../../workers/execution/checks/trust.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { hasCommand } from '../support/servers.ts';
import { http2Server } from './http2-server.ts';
import { check, listening, nameServer, outcome, texts, tunnel } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'heartbeats over HTTP/2'));

describe.skipIf(isMissing)('a heartbeat over HTTP/2', () => {
  let authority: Authority;
  let own: { key: string; cert: string };
  beforeAll(async () => {
    authority = await makeAuthority();
    own = authority.issue('own', ['DNS:good.test', 'IP:127.0.0.1'], 30);
  });
  afterAll(() => authority?.close());

  const visit = (payload: Parameters<typeof check>[0], context: Parameters<typeof check>[1] = {}) =>
    check({ timeout_seconds: 20, ...payload }, { trust: trustOf({ ca: authority.ca }), ...context });

  test('gets the page of a server that speaks nothing else, and says so in the log', async () => {
    const { endpoint, host, requests } = await http2Server(own, (stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
      stream.respond({ ':status': 200, 'content-type': 'text/plain' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }));
      stream.end('all is well');
    });
    const result = await visit({
      endpoint: `${endpoint}health?deep=yes`,
      headers: { 'X-Own': ' grün ', Connection: 'keep-alive', TE: 'gzip', 'Keep-Alive': '5' },
      host_header: 'page.test',
      body_contains: 'is well',
    });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toContainEqual(
      expect.stringMatching(
        /^200 OK over HTTP\/2: first byte after [\d.]+ ms, 11 bytes read \(to the text expected\) /,
      ),
    );
    expect(requests.map((one) => Object.fromEntries(Object.entries(one)))).toEqual([
      {
        ':method': 'GET',
        ':scheme': 'https',
        ':authority': 'page.test',
        ':path': '/health?deep=yes',
        'x-own': Buffer.from('grün').toString('latin1'),
        'user-agent': 'chronoverse-heartbeat',
        accept: '*/*',
        'accept-encoding': 'gzip, deflate, br',
      },
    ]);
    expect(host).not.toBe('page.test');
  });

  test.each([
    ['AUTO', 'h2'],
    ['HTTP_2', 'h2'],
    ['HTTP_1_1', 'http/1.1'],
  ] as const)('or HTTP/1.1, as the payload says: %s', async (version, protocol) => {
    const { server, endpoint } = await http2Server(own, (stream) => stream.respond({}, { endStream: true }), {
      allowHTTP1: true,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const spoken: unknown[] = [];
    server.on('secureConnection', ({ alpnProtocol }) => spoken.push(alpnProtocol));
    server.on('request', (request, response) => request.httpVersion === '1.1' && response.end());
    expect(outcome(await visit({ endpoint, http_version: version }))).toBe('ok');
    // What only HTTP/1.1 has.
    expect(outcome(await visit({ endpoint, headers: { Upgrade: 'other' } }))).toBe('ok');
    expect(outcome(await visit({ endpoint, websocket: true }))).toMatch(/ answered 200 OK\. 101 was expected/);
    expect(spoken).toEqual([protocol, 'http/1.1', 'http/1.1']);
  });

  test('fails where HTTP/2 is wanted and the server lacks it', async () => {
    const page = https.createServer(own, (_, response) => response.end());
    const { host } = await listening(page);
    expect(outcome(await visit({ endpoint: `https://${host}/`, http_version: 'HTTP_2' }))).toMatch(
      /^CHECK_FAILED: No TLS with \S+: it does not speak HTTP\/2 \(ERR_SSL_\S+\)\. HTTP\/2 over TLS was expected\.$/,
    );
    const server = await http2Server(own, () => undefined);
    expect(outcome(await visit({ endpoint: server.endpoint, http_version: 'HTTP_1_1' }))).toMatch(
      /: it does not speak HTTP\/1\.1, perhaps only HTTP\/2 \(ERR_SSL_\S+\)\. HTTP\/1\.1 over TLS was expected\.$/,
    );
    const silent = await listening(https.createServer({ ...own, ALPNProtocols: undefined }, (_, r) => r.end()));
    const redirecting = await http2Server(own, (stream) =>
      stream.respond({ ':status': 302, location: `http://${silent.host}/` }, { endStream: true }),
    );
    expect(outcome(await visit({ endpoint: redirecting.endpoint, http_version: 'HTTP_2' }))).toMatch(
      /^CHECK_FAILED: No GET \S+ over HTTP\/2: a check speaks it over TLS only\. HTTP\/2 was expected \(http_version\)\.$/,
    );
  });

  test('sends a body, and reads one that is encoded and matched', async () => {
    let received = '';
    const { endpoint, requests } = await http2Server(own, (stream) => {
      stream.on('data', (piece) => {
        received += piece;
      });
      stream.on('end', () => {
        stream.respond({ 'content-type': 'application/json', 'content-encoding': 'gzip' });
        stream.end(gzipSync('{"up": true}'));
      });
    });
    const body = 'x'.repeat(200_000);
    const result = await visit({ endpoint, method: 'POST', body, body_json: { path: '$.up', value: 'true' } });
    expect(outcome(result)).toBe('ok');
    expect(received).toBe(body);
    expect(requests[0]).toMatchObject({ ':method': 'POST', 'content-length': '200000' });
  });

  test('follows redirects to HTTP/1.1 and back, with cookies', async () => {
    const seen: string[] = [];
    const old = await listening(
      https.createServer(own, (request, response) => {
        seen.push(`${request.httpVersion} ${request.url} ${request.headers.cookie}`);
        response.writeHead(307, { location: `${fresh.endpoint}end`, 'set-cookie': 'b=2' }).end();
      }),
    );
    const fresh = await http2Server(own, (stream, { ':path': path, cookie }) => {
      seen.push(`2 ${path} ${cookie}`);
      const status = path === '/end' ? 204 : 301;
      const location = path === '/end' ? {} : { location: `https://${old.host}/old`, 'set-cookie': ['a=1', 'c=3'] };
      stream.respond({ ':status': status, ...location }, { endStream: true });
    });
    expect(outcome(await visit({ endpoint: fresh.endpoint }))).toBe('ok');
    expect(seen).toEqual(['2 / undefined', '1.1 /old a=1; c=3', '2 /end a=1; c=3; b=2']);
  });

  test('judges a status, a body and headers alone as over HTTP/1.1', async () => {
    const { endpoint } = await http2Server(own, (stream, { ':path': path, ':method': method }) => {
      if (method === 'HEAD') return stream.respond({ 'content-length': '9' }, { endStream: true });
      stream.respond({ ':status': Number(path?.slice(1)) });
      if (path === '/200') stream.write('an endless stream');
      else stream.end('why it is so');
    });
    expect(outcome(await visit({ endpoint: `${endpoint}503` }))).toMatch(
      /^CHECK_FAILED: GET \S+ answered 503 Service Unavailable\. Any 2xx was expected\. Its body \(12 bytes\) begins "why it is so"\.$/,
    );
    expect(outcome(await visit({ endpoint: `${endpoint}421`, expected_status: [421] }))).toBe('ok');
    expect(outcome(await visit({ endpoint: `${endpoint}599` }))).toMatch(/ answered 599\. Any 2xx/);
    expect(outcome(await visit({ endpoint: `${endpoint}200`, headers_only: true }))).toBe('ok');
    expect(outcome(await visit({ endpoint: `${endpoint}200`, method: 'HEAD' }))).toBe('ok');
    expect(outcome(await visit({ endpoint: `${endpoint}200`, timeout_seconds: 1 }))).toMatch(
      /^TIMEOUT: Timed out after 1 s waiting for the rest of the body of the response \(200 OK\) to GET \S+; 17 bytes had come\.$/,
    );
  });

  test('reads 1 MiB of a body, and stops', async () => {
    const { endpoint } = await http2Server(own, (stream) => {
      stream.respond();
      stream.end(Buffer.alloc(2 * 1024 * 1024));
    });
    const result = await visit({ endpoint });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toMatch(/, 1048576 bytes read \(more is not read\) after /);
  });

  test('goes through a proxy, and to another place', async () => {
    const { host, port, requests } = await http2Server(own, (stream) => stream.respond({}, { endStream: true }));
    const proxy = http.createServer();
    proxy.on('connect', (request, socket, head) => tunnel(request, socket, head, 'HTTP/1.1 200 OK\r\n\r\n'));
    const there = await listening(proxy);
    const { names } = await nameServer(() => ['127.0.0.1']);
    const endpoint = `https://good.test:${port}/`;
    expect(outcome(await visit({ endpoint, proxy: `http://${there.host}` }, { names }))).toBe('ok');
    expect(outcome(await visit({ endpoint: 'https://good.test/', connect_to: host }))).toBe('ok');
    expect(requests.map((one) => one[':authority'])).toEqual([`good.test:${port}`, 'good.test']);
  });

  test('asks again over HTTP/1.1 where a server wants that for the request', async () => {
    const { server, endpoint } = await http2Server(own, (stream) => stream.close(0xd), {
      allowHTTP1: true,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    server.on('request', (request, response) => request.httpVersion === '1.1' && response.end('old'));
    const result = await visit({ endpoint, body_contains: 'old' });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toContainEqual('The server wants HTTP/1.1 for this request.');
    expect(outcome(await visit({ endpoint, http_version: 'HTTP_2' }))).toMatch(
      /^CHECK_FAILED: No response to GET \S+: it reset the stream \(HTTP_1_1_REQUIRED\)\. A response was expected\.$/,
    );
  });

  test('says that a server of TLS 1.3 wants a client certificate', async () => {
    const { endpoint } = await http2Server(own, (stream) => stream.respond({}, { endStream: true }), {
      requestCert: true,
      ca: authority.ca,
      minVersion: 'TLSv1.3',
    });
    expect(outcome(await visit({ endpoint }))).toMatch(
      /^CHECK_FAILED: No response to GET \S+: .*client certificate, (and the check has none|which the check lacks)/,
    );
  });
});
