import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateMaker, certificateMaker, type Issued, sending } from '../support/chains.ts';
import { hasCommand } from '../support/servers.ts';
import { check, listening, nameServer, outcome, policy, texts, tunnel } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'the ways by which heartbeats reach endpoints'));

describe.skipIf(isMissing)('a heartbeat reaches its endpoint', () => {
  let made: CertificateMaker;
  let root: Issued;
  let site: Issued;
  let client: Issued;
  let visitor: { certificate: string; key: string };
  beforeAll(async () => {
    made = await certificateMaker();
    root = made.issue('Root', undefined);
    site = made.issue('site', root, { names: ['DNS:good.test', 'DNS:other.test'] });
    client = made.issue('visitor', root, { names: ['DNS:visitor.test'], extensions: ['extendedKeyUsage=clientAuth'] });
    visitor = { certificate: client.cert, key: client.key };
  });
  afterAll(() => made?.close());

  /** A server whose pages say what it was asked. Further requests are answered as `answer` says. */
  async function serve(
    options: https.ServerOptions = {},
    answer: http.RequestListener = (_, response) => response.end(),
  ) {
    const seen: { host: string | undefined; servername: unknown; client: string | undefined }[] = [];
    const server = https.createServer({ ...sending(site), ...options }, (request, response) => {
      const socket = request.socket as TLSSocket;
      const { subject } = socket.getPeerCertificate();
      seen.push({ host: request.headers.host, servername: socket.servername, client: [subject?.CN].flat()[0] });
      answer(request, response);
    });
    return { ...(await listening(server)), seen };
  }

  const loopback = () => nameServer((name) => (name.endsWith('.test') ? ['127.0.0.1'] : undefined));
  const ca = () => ({ tls_ca: root.cert });

  describe('with authorities of its own', () => {
    test('and trusts them alone', async () => {
      const { port } = await serve();
      const { names } = await loopback();
      const endpoint = `https://good.test:${port}/`;
      expect(outcome(await check({ endpoint, ...ca() }, { names }))).toBe('ok');
      expect(outcome(await check({ endpoint }, { names }))).toMatch(/authority of the certificate is not known here/);
      const stranger = made.issue('Stranger', undefined);
      expect(outcome(await check({ endpoint, tls_ca: stranger.cert }, { names }))).toMatch(/is not known here/);
      expect(outcome(await check({ endpoint, tls_ca: `${stranger.cert}${root.cert}` }, { names }))).toBe('ok');
    });

    test('and counts the days up to them', async () => {
      const soon = made.issue('Soon', root, { to: 3.5 });
      const { port } = await serve(sending(made.issue('own', soon, { names: ['DNS:good.test'] }), soon));
      const { names } = await loopback();
      const payload = { endpoint: `https://good.test:${port}/`, min_tls_days_left: 14, ...ca() };
      expect(outcome(await check(payload, { names }))).toMatch(/the intermediate certificate of Soon .* 3 days left/);
    });
  });

  describe('without verification', () => {
    test('and the log warns of what is wrong', async () => {
      const { port } = await serve(sending(made.issue('old', root, { names: ['DNS:a.test'], to: -0.5 })));
      const { names } = await loopback();
      const result = await check({ endpoint: `https://good.test:${port}/`, tls_verify: false, ...ca() }, { names });
      expect(outcome(result)).toBe('ok');
      const [warning] = result.lines.filter(({ stream }) => stream === 'STDERR');
      expect(warning?.text).toMatch(
        /^Certificates are not verified \(tls_verify is false\), and these would be refused: certificate has expired \(CERT_HAS_EXPIRED\); that of old, /,
      );
      const named = await check({ endpoint: `https://other.test:${port}/`, tls_verify: true, ...ca() }, { names });
      expect(outcome(named)).toMatch(/certificate has expired/);
    });

    test('the log warns too when nothing is wrong, and days still count', async () => {
      const { port } = await serve();
      const { names } = await loopback();
      const payload = { endpoint: `https://good.test:${port}/`, tls_verify: false, ...ca() };
      const result = await check(payload, { names });
      expect(result.lines.filter(({ stream }) => stream === 'STDERR').map(({ text }) => text)).toEqual([
        'Certificates are not verified (tls_verify is false).',
      ]);
      expect(outcome(await check({ ...payload, min_tls_days_left: 100 }, { names }))).toMatch(/At least 100 were/);
    });
  });

  describe('with a client certificate', () => {
    const wanting = () => ({ requestCert: true, rejectUnauthorized: true, ca: root.cert });

    test.each(['TLSv1.2', 'TLSv1.3'] as const)('that the server wants, in %s', async (version) => {
      const { port, seen } = await serve({ ...wanting(), minVersion: version, maxVersion: version });
      const { names } = await loopback();
      const payload = { endpoint: `https://good.test:${port}/`, client_certificate: visitor, ...ca() };
      expect(outcome(await check(payload, { names }))).toBe('ok');
      expect(seen).toMatchObject([{ client: 'visitor' }]);
    });

    test.each(['TLSv1.2', 'TLSv1.3'] as const)('that the server refuses, in %s', async (version) => {
      const { port } = await serve({ ...wanting(), minVersion: version, maxVersion: version });
      const { names } = await loopback();
      const stranger = made.issue('stranger', undefined, { names: ['DNS:a.test'] });
      const client_certificate = { certificate: stranger.cert, key: stranger.key };
      const result = await check({ endpoint: `https://good.test:${port}/`, client_certificate, ...ca() }, { names });
      // Node's server ends the connection in its own way.
      expect(outcome(result)).toMatch(/^CHECK_FAILED: No (TLS with|response to) /);
      expect(outcome(result)).not.toMatch(/routines|the check has none|check lacks/);
    });

    test('that does not go along with a redirect to another origin', async () => {
      const optional = { ...wanting(), rejectUnauthorized: false };
      const other = await serve(optional);
      const first = await serve(optional, (request, response) => {
        const location = request.url === '/' ? '/same' : `https://other.test:${other.port}/`;
        response.writeHead(302, { location }).end();
      });
      const { names } = await loopback();
      const payload = { endpoint: `https://good.test:${first.port}/`, client_certificate: visitor, ...ca() };
      expect(outcome(await check(payload, { names }))).toBe('ok');
      expect(first.seen.map(({ client }) => client)).toEqual(['visitor', 'visitor']);
      expect(other.seen).toEqual([{ host: `other.test:${other.port}`, servername: 'other.test', client: undefined }]);
    });
  });

  describe('elsewhere', () => {
    test('at the host and port that it names, and asks for the endpoint’s', async () => {
      const { port, seen } = await serve();
      const payload = { endpoint: 'https://good.test/', connect_to: `127.0.0.1:${port}`, ...ca() };
      const result = await check(payload);
      expect(outcome(result)).toBe('ok');
      expect(texts(result)).toContainEqual(`Connects to 127.0.0.1:${port} in place of good.test.`);
      expect(seen).toEqual([{ host: 'good.test', servername: 'good.test', client: undefined }]);
    });

    test('where HEARTBEAT_ALLOW decides about that host', async () => {
      const { port } = await serve();
      const { names } = await loopback();
      const payload = { endpoint: 'https://good.test/', ...ca() };
      for (const connect_to of [`127.0.0.1:${port}`, `inner.test:${port}`, `[::1]:${port}`, '169.254.169.254:80'])
        expect(outcome(await check({ ...payload, connect_to }, { names, allow: policy('public') }))).toMatch(
          /is in no network that heartbeats may reach here/,
        );
    });

    test('not after a redirect to another host', async () => {
      const other = await serve();
      const first = await serve({}, (_, response) =>
        response.writeHead(302, { location: `https://other.test:${other.port}/` }).end(),
      );
      const { names } = await loopback();
      const payload = { endpoint: 'https://good.test/', connect_to: `127.0.0.1:${first.port}`, ...ca() };
      expect(outcome(await check(payload, { names }))).toBe('ok');
      expect([first.seen.length, other.seen.length]).toEqual([1, 1]);
    });

    test('under other names in the handshake and in the request', async () => {
      const { port, seen } = await serve();
      const endpoint = `https://127.0.0.1:${port}/`;
      const payload = { endpoint, tls_server_name: 'good.test', host_header: 'other.test:8443', ...ca() };
      expect(outcome(await check(payload))).toBe('ok');
      expect(seen).toEqual([{ host: 'other.test:8443', servername: 'good.test', client: undefined }]);
      expect(outcome(await check({ ...payload, tls_server_name: 'bad.test' }))).toMatch(
        /certificate is for other names .* A certificate valid for bad\.test was expected\.$/,
      );
    });

    test('under a name in the handshake that is written in Unicode', async () => {
      const issued = made.issue('books', root, { names: ['DNS:xn--bcher-kva.test'] });
      const { port, seen } = await serve(sending(issued));
      const payload = { endpoint: `https://127.0.0.1:${port}/`, tls_server_name: 'bücher.test', ...ca() };
      expect(outcome(await check(payload))).toBe('ok');
      expect(seen.map(({ servername }) => servername)).toEqual(['xn--bcher-kva.test']);
    });

    test('with a Host header that does not go along with a redirect elsewhere, but holds again after one back', async () => {
      const hosts: (string | undefined)[] = [];
      const see = ({ headers }: IncomingMessage) => hosts.push(headers.host);
      const other = await listening(
        http.createServer((request, response) => {
          see(request);
          response.writeHead(302, { location: `http://${first.host}/back` }).end();
        }),
      );
      const first: { host: string } = await listening(
        http.createServer((request, response) => {
          see(request);
          if (request.url === '/back') return response.end();
          response.writeHead(302, { location: request.url === '/' ? '/same' : `http://${other.host}/` }).end();
        }),
      );
      expect(outcome(await check({ endpoint: `http://${first.host}/`, host_header: 'good.test' }))).toBe('ok');
      expect(hosts).toEqual(['good.test', 'good.test', other.host, 'good.test']);
    });
  });

  describe('through a proxy', () => {
    /** An HTTP proxy that connects to where it is asked. `answer` may refuse. */
    async function proxy(
      answer: (request: IncomingMessage) => string | undefined = () => undefined,
      established = 'HTTP/1.1 299 Connection established\r\n\r\n',
    ) {
      const asked: { target: string | undefined; authorization: string | undefined }[] = [];
      const server = http.createServer((_, response) => response.writeHead(405).end());
      server.on('connect', (request, socket: net.Socket, head: Buffer) => {
        asked.push({ target: request.url, authorization: request.headers['proxy-authorization'] });
        const refusal = answer(request);
        if (refusal === 'silence') return socket.resume().on('end', () => socket.end());
        if (refusal === 'end') return socket.destroy();
        if (refusal !== undefined) return socket.end(`HTTP/1.1 ${refusal}\r\ncontent-length: 0\r\n\r\n`);
        tunnel(request, socket, head, established);
      });
      const { port } = await listening(server);
      return { proxy: `http://127.0.0.1:${port}`, port, asked };
    }

    test('that is asked for the address that was checked', async () => {
      const { port, seen } = await serve();
      const { names } = await loopback();
      const { proxy: url, asked } = await proxy();
      const result = await check({ endpoint: `https://good.test:${port}/`, proxy: url, ...ca() }, { names });
      expect(outcome(result)).toBe('ok');
      expect(asked).toEqual([{ target: `127.0.0.1:${port}`, authorization: undefined }]);
      expect(seen).toEqual([{ host: `good.test:${port}`, servername: 'good.test', client: undefined }]);
      expect(texts(result)).toContainEqual(`Connects through the proxy ${url.slice('http://'.length)}.`);
      expect(texts(result)).toContainEqual(expect.stringMatching(/^The proxy connected to 127\.0\.0\.1:\d+ in /));
    });

    test('for plain HTTP, and after redirects too', async () => {
      const { host } = await listening(
        http.createServer(
          ({ url }, response) => void response.writeHead(url === '/' ? 302 : 200, { location: '/b' }).end(),
        ),
      );
      const { proxy: url, asked } = await proxy();
      expect(outcome(await check({ endpoint: `http://${host}/`, proxy: url }))).toBe('ok');
      expect(asked.map(({ target }) => target)).toEqual([host, host]);
    });

    test('where HEARTBEAT_ALLOW decides about the proxy and about the target', async () => {
      const { port } = await serve();
      const { names } = await nameServer((name) => (name === 'good.test' ? ['127.0.0.2'] : ['127.0.0.1']));
      const there = await proxy();
      const attempt = (allow: string, more: object = {}) =>
        check(
          { endpoint: `https://good.test:${port}/`, proxy: `http://proxy.test:${there.port}`, ...ca(), ...more },
          { names, allow: policy(allow) },
        ).then(outcome);
      expect(await attempt('127.0.0.1/32')).toMatch(/^CHECK_FAILED: good\.test \(127\.0\.0\.2\) is in no network/);
      expect(await attempt('127.0.0.2/32')).toMatch(/^CHECK_FAILED: proxy\.test \(127\.0\.0\.1\) is in no network/);
      expect(await attempt('127.0.0.1/32', { connect_to: '169.254.169.254:443' })).toMatch(/is in no network/);
      expect(there.asked).toEqual([]);
    });

    test('that wants a login', async () => {
      const { port } = await serve();
      const { names } = await loopback();
      const right = `Basic ${Buffer.from('ann:open-sesame').toString('base64')}`;
      const { proxy: url } = await proxy(({ headers }) =>
        headers['proxy-authorization'] === right ? undefined : '407 Proxy Authentication Required',
      );
      const payload = { endpoint: `https://good.test:${port}/`, proxy: url, ...ca() };
      const proxy_auth = { username: 'ann', password: 'open-sesame' };
      expect(outcome(await check({ ...payload, proxy_auth }, { names }))).toBe('ok');
      expect(outcome(await check(payload, { names }))).toMatch(
        /^CHECK_FAILED: The proxy \S+ answered 407 Proxy Authentication Required to CONNECT \S+\. It wants a login \(proxy_auth\)\. 2xx was expected\.$/,
      );
    });

    test.each(['502 Bad Gateway', '403 Forbidden', '400 Bad Request', 'end', 'silence'])(
      'that answers "%s" for one family, and connects in the other',
      async (refusal) => {
        const { port } = await serve();
        const { names } = await nameServer(() => ['::1', '127.0.0.1']);
        const { proxy: url, asked } = await proxy(({ url }) => (url?.startsWith('[') ? refusal : undefined));
        const result = await check({ endpoint: `https://good.test:${port}/`, proxy: url, ...ca() }, { names });
        expect(outcome(result)).toBe('ok');
        expect(asked.map(({ target }) => target)).toEqual([`[::1]:${port}`, `127.0.0.1:${port}`]);
      },
    );

    test('that does not reach the one family whose DNS answer has come, and waits for the other only then', async () => {
      const { port } = await serve();
      const IPV4 = 1;
      const half = await nameServer(
        () => ['::1', '127.0.0.1'],
        (type) => (type === IPV4 ? 400 : 0),
      );
      const { proxy: url } = await proxy(({ url }) => (url?.startsWith('[') ? '502 Bad Gateway' : undefined));
      const payload = { endpoint: `https://good.test:${port}/`, proxy: url, ...ca() };
      expect(outcome(await check(payload, { names: half.names }))).toBe('ok');
      const silent = await nameServer((_, type) => (type === IPV4 ? ['127.0.0.1'] : 'silence'));
      expect(outcome(await check({ ...payload, timeout_seconds: 2 }, { names: silent.names }))).toBe('ok');
    });

    test.each([
      'HTTP/1.0 200 Connection established\nProxy-agent: old\n\n',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
      `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
    ])('that answers in an odd way: %#', async (established) => {
      const { port } = await serve();
      const { names } = await loopback();
      const { proxy: url } = await proxy(undefined, established);
      expect(outcome(await check({ endpoint: `https://good.test:${port}/`, proxy: url, ...ca() }, { names }))).toBe(
        'ok',
      );
    });

    test('that sends headers without end', async () => {
      const { names } = await loopback();
      const { proxy: url } = await proxy(() => `200 OK\r\nX-Long: ${'x'.repeat(40_000)}`);
      expect(outcome(await check({ endpoint: 'https://good.test/', proxy: url }, { names }))).toMatch(
        /^CHECK_FAILED: No answer of the proxy \S+ to CONNECT \S+: headers of more than 32768 bytes, beginning "HTTP/,
      );
    });

    test('that refuses, is away or speaks something else', async () => {
      const { names } = await nameServer(() => ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']);
      const refusing = await proxy(() => '502 Bad Gateway');
      const endpoint = 'https://good.test/';
      expect(outcome(await check({ endpoint, proxy: refusing.proxy }, { names }))).toMatch(
        /answered 502 Bad Gateway to/,
      );
      expect(new Set(refusing.asked.map(({ target }) => target)).size).toBe(3); // not all of them
      const forbidding = await proxy(() => '403 Forbidden');
      expect(outcome(await check({ endpoint, proxy: forbidding.proxy }, { names }))).toMatch(
        /answered 403 Forbidden to/,
      );
      expect(forbidding.asked).toHaveLength(1);
      const strange = await listening(net.createServer((socket) => socket.resume().end('SSH-2.0-OpenSSH\r\n')));
      expect(outcome(await check({ endpoint, proxy: `http://${strange.host}` }, { names }))).toMatch(
        /^CHECK_FAILED: No answer of the proxy 127\.0\.0\.1:\d+ to CONNECT \S+:443: an answer that is not HTTP, beginning "SSH-2\.0-OpenSSH\\r\\n"\. .* 2xx was expected\.$/,
      );
      const silent = await listening(net.createServer((socket) => socket.resume()));
      expect(outcome(await check({ endpoint, proxy: `http://${silent.host}`, timeout_seconds: 1 }, { names }))).toMatch(
        /^TIMEOUT: .* waiting for the proxy \S+ to connect to \S+:443\.$/,
      );
    });
  });
});
