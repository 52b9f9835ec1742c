import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { trustOf } from '../../workers/execution/checks/trust.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { hasCommand } from '../support/servers.ts';
import { check, listening, nameServer, outcome, raw, texts } from './support.ts';

const ECDHE_RSA_AES128_GCM = 0xc02f;
const DHE_RSA_AES128_GCM = 0x009e;

const isMissing = !(await hasCommand('openssl', 'failed TLS handshakes of heartbeats'));

describe.skipIf(isMissing)('a TLS handshake that fails', () => {
  let authority: Authority;
  let own: { key: string; cert: string };
  beforeAll(async () => {
    authority = await makeAuthority();
    own = authority.issue('good', ['DNS:good.test', 'IP:127.0.0.1'], 30);
  });
  afterAll(() => authority?.close());

  async function visit(server: net.Server, host = 'good.test') {
    const { port } = await listening(server);
    const { names } = await nameServer(() => ['127.0.0.1']);
    const trust = trustOf({ ca: authority.ca });
    return check({ endpoint: `https://${host}:${port}/`, timeout_seconds: 20 }, { names, trust });
  }

  const page = (options: https.ServerOptions) =>
    https.createServer({ ...own, ...options }, (_, response) => response.end());
  /** Answers the first bytes that come with `bytes`. */
  const answering = (...bytes: number[]) =>
    net.createServer((socket) => socket.once('data', () => socket.end(Buffer.from(bytes))));
  const alert = (code: number) => answering(0x15, 3, 3, 0, 2, 2, code);

  test('offers no DHE, whose server chooses how much work it is', async () => {
    const offered: number[] = [];
    const server = net.createServer((socket) =>
      socket.once('data', (hello) => {
        const at = 44 + hello.readUInt8(43); // behind the session id of the ClientHello
        for (let n = 0; n < hello.readUInt16BE(at); n += 2) offered.push(hello.readUInt16BE(at + 2 + n));
        socket.end();
      }),
    );
    const { port } = await listening(server);
    const endpoint = `https://127.0.0.1:${port}/`;
    for (const more of [{}, { tls_ca: authority.ca }]) {
      offered.length = 0;
      expect(outcome(await check({ endpoint, ...more }))).toMatch(/^CHECK_FAILED/);
      expect(offered).toContain(ECDHE_RSA_AES128_GCM);
      expect(offered).not.toContain(DHE_RSA_AES128_GCM);
    }
  });

  const FAILED: [what: string, server: () => net.Server, message: RegExp][] = [
    [
      'a server of TLS 1.0',
      () => page({ minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
      /: it speaks no version of TLS that is safe today \(ERR_SSL_\S+\)\. TLS 1\.2 or 1\.3 was expected\.$/,
    ],
    [
      'a server that chooses TLS 1.0 by itself',
      // A ServerHello of TLS 1.0.
      () => answering(0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, ...Array<number>(32).fill(1), 0, 0xc0, 0x13, 0),
      /: it speaks no version of TLS that is safe today \(ERR_SSL_\S+\)\. TLS 1\.2 or 1\.3 was expected\.$/,
    ],
    [
      'a server without a cipher in common',
      () => page({ minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_CCM_8_SHA256' }),
      /: it has no cipher, no curve or no signature in common with the check \(ERR_SSL_\S+_ALERT_HANDSHAKE_FAILURE\)\. A handshake was expected\.$/,
    ],
    [
      'a server without HTTP',
      () => tls.createServer({ ...own, ALPNProtocols: ['imap'] }),
      /: it speaks neither HTTP\/2 nor HTTP\/1\.1 \(ERR_SSL_\S+\)\. HTTP\/2 or HTTP\/1\.1 over TLS was expected\.$/,
    ],
    [
      'a server that does not know the name',
      () => alert(112),
      /: it does not know the name good\.test \(ERR_SSL_TLSV1_UNRECOGNIZED_NAME\)\. A name that it serves was expected\.$/,
    ],
    ['a server with a fault of its own', () => alert(80), /: it reports a fault of its own \(ERR_SSL_\S+\)\. /],
    [
      'an alert that says little',
      () => alert(47),
      /: it ended the handshake with the alert "illegal parameter" \(ERR_SSL_\S+\)\. /,
    ],
    [
      'plain HTTP',
      () => http.createServer((_, response) => response.end()),
      /: what answers there does not speak TLS \(ERR_SSL_WRONG_VERSION_NUMBER\)\. TLS was expected; http:\/\/ is for an endpoint without it\.$/,
    ],
    [
      'SSH',
      () => net.createServer((socket) => socket.resume().end('SSH-2.0-OpenSSH_9.6\r\n')),
      /: what answers there does not speak TLS /,
    ],
    [
      'mail',
      () => net.createServer((socket) => socket.resume().end('220 mail ESMTP\r\n')),
      /: what answers there does not speak TLS /,
    ],
    ['bytes of no protocol', () => answering(0x16, 3, 3, 0, 4, 2, 0, 0, 0), /: what answers there does not speak TLS /],
    [
      'a connection that is cut',
      () => net.createServer((socket) => socket.once('data', () => socket.destroy())),
      /: the connection was reset or closed \(ECONNRESET\)\. A handshake was expected\.$/,
    ],
    [
      'a connection that is reset',
      () => net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
      /: the connection was reset or closed \(ECONNRESET\)\. A handshake was expected\.$/,
    ],
  ];
  test.each(FAILED)('says what it met: %s', async (_, server, message) => {
    const result = outcome(await visit(server()));
    expect(result).toMatch(/^CHECK_FAILED: No TLS with 127\.0\.0\.1:\d+: /);
    expect(result).toMatch(message);
    // Nor of certificates, and in nothing of OpenSSL's own words.
    expect(result).not.toMatch(/certificate|routines|error:/i);
  });

  test('a connection that is reset as soon as the handshake is done is the server’s fault', async () => {
    const server = page({});
    const { port } = await listening(server);
    const front = net.createServer((socket) => {
      const behind = net.connect(port, '127.0.0.1');
      for (const one of [socket, behind]) one.on('error', () => undefined);
      socket.pipe(behind);
      socket.once('close', () => behind.destroy());
      behind.on('data', (piece) => {
        socket.write(piece);
        socket.resetAndDestroy();
      });
    });
    expect(outcome(await visit(front))).toMatch(/^CHECK_FAILED: No (TLS with|response to) .* (closed|reset)/);
  });

  test('a server that sends too many certificates speaks TLS all the same', async () => {
    const cert = own.cert + authority.ca.repeat(400);
    expect(outcome(await visit(page({ cert })))).toMatch(
      /: it sends a message that is too long, perhaps with too many certificates \(ERR_SSL_EXCESSIVE_MESSAGE_SIZE\)\. /,
    );
  });

  test('a server that wants a name says so to a check of an address', async () => {
    expect(outcome(await visit(alert(112), '127.0.0.1'))).toMatch(/: it wants a name, and an address is none \(/);
  });

  test('a server that never answers leads to the time-out, which names the handshake', async () => {
    const { port } = await raw((socket) => socket.resume());
    expect(outcome(await check({ endpoint: `https://127.0.0.1:${port}/`, timeout_seconds: 1 }))).toMatch(
      /^TIMEOUT: Timed out after 1 s waiting for the TLS handshake with 127\.0\.0\.1:\d+\.$/,
    );
  });

  describe('for want of a client certificate', () => {
    const wanting = (options: https.ServerOptions) =>
      page({ requestCert: true, rejectUnauthorized: true, ca: authority.ca, ...options });

    test('says so in TLS 1.2, within the handshake', async () => {
      expect(outcome(await visit(wanting({ maxVersion: 'TLSv1.2' })))).toMatch(
        /^CHECK_FAILED: No TLS with \S+: it wants a client certificate, and the check has none \(client_certificate\) \(ERR_SSL_\S+\)\. A handshake was expected\.$/,
      );
    });

    test('says so in TLS 1.3, after the handshake', async () => {
      const result = await visit(wanting({ minVersion: 'TLSv1.3' }));
      expect(outcome(result)).toMatch(
        /^CHECK_FAILED: No response to GET good\.test:\d+: it wants a client certificate, and the check has none \(client_certificate\) \(ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED\)\. /,
      );
      expect(texts(result)).toContainEqual('The server asks for a client certificate; the check has none.');
    });

    test('says so of a server that just closes', async () => {
      const server = tls.createServer({ ...own, requestCert: true, rejectUnauthorized: false }, (socket) =>
        socket.destroy(),
      );
      expect(outcome(await visit(server))).toMatch(
        /the server had asked for a client certificate, which the check lacks/,
      );
    });

    test('says of a server that closes on the certificate of the check why that may be', async () => {
      const { port } = await listening(wanting({ minVersion: 'TLSv1.3' }));
      const older = await listening(wanting({ maxVersion: 'TLSv1.2' }));
      const stranger = await makeAuthority('Another authority');
      const { cert, key } = stranger.issue('visitor', ['DNS:visitor.test'], 30);
      const payload = { client_certificate: { certificate: cert, key }, tls_ca: authority.ca };
      expect(outcome(await check({ endpoint: `https://127.0.0.1:${port}/`, ...payload }))).toMatch(
        /^CHECK_FAILED: No response .* \(.*perhaps the server refuses the client certificate of the check\)/,
      );
      expect(outcome(await check({ endpoint: `https://127.0.0.1:${older.port}/`, ...payload }))).toMatch(
        /^CHECK_FAILED: No TLS .*, perhaps as it refuses the client certificate \(ECONNRESET\)\. /,
      );
      await stranger.close();
    });

    test('succeeds where the server only asks', async () => {
      expect(outcome(await visit(wanting({ rejectUnauthorized: false })))).toBe('ok');
    });
  });
});
