import https from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Trust, trustOf } from '../../workers/execution/checks/trust.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { hasCommand } from '../support/servers.ts';
import { check, listening, nameServer, outcome, texts } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'heartbeats over HTTPS'));

describe.skipIf(isMissing)('a heartbeat over HTTPS', () => {
  let authority: Authority;
  let trust: Trust;
  beforeAll(async () => {
    authority = await makeAuthority();
    trust = trustOf({ ca: authority.ca });
  });
  afterAll(() => authority?.close());

  async function visit(
    certificate: { key: string; cert: string },
    host: string,
    isTrusted = true,
    minTlsDaysLeft?: number,
  ) {
    const { port } = await listening(https.createServer(certificate, (_, response) => response.end('hello')));
    const { names } = await nameServer(() => ['127.0.0.1']);
    const context = { names, ...(isTrusted ? { trust } : {}) };
    return check({ endpoint: `https://${host}:${port}/`, min_tls_days_left: minTlsDaysLeft }, context);
  }

  test('succeeds with a valid certificate, and logs the handshake and the days left', async () => {
    const result = await visit(authority.issue('good', ['DNS:good.test'], 30), 'good.test');
    expect(outcome(result)).toBe('ok');
    expect(texts(result)[3]).toMatch(
      /^TLSv1\.3 in [\d.]+ ms; the certificate of good is valid until \d{4}-\d\d-\d\dT[\d:.]+Z, (29|30) days left\.$/,
    );
  });

  test('takes a name with a final dot for the same name, also in the handshake', async () => {
    const certificate = authority.issue('dotted', ['DNS:good.test'], 30);
    const asked: (string | undefined)[] = [];
    const server = https.createServer(certificate, (request, response) => {
      asked.push(request.headers.host);
      response.end();
    });
    server.on('secureConnection', ({ servername }) => asked.push(servername || undefined));
    const { port } = await listening(server);
    const { names } = await nameServer(() => ['127.0.0.1']);
    expect(outcome(await check({ endpoint: `https://good.test.:${port}/` }, { names, trust }))).toBe('ok');
    expect(asked).toEqual(['good.test', `good.test.:${port}`]); // the header as curl sends it
  });

  test('accepts a certificate for an address', async () => {
    const certificate = authority.issue('address', ['IP:127.0.0.1'], 30);
    expect(outcome(await visit(certificate, '127.0.0.1'))).toBe('ok');
    expect(outcome(await visit(certificate, 'good.test'))).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID/);
  });

  test('fails on an unknown authority', async () => {
    expect(outcome(await visit(authority.issue('stranger', ['DNS:good.test'], 30), 'good.test', false))).toMatch(
      /^CHECK_FAILED: No TLS with 127\.0\.0\.1:\d+: .*(UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER).* A certificate valid for good\.test was expected\.$/,
    );
  });

  test('fails on an expired certificate', async () => {
    expect(outcome(await visit(authority.issue('expired', ['DNS:good.test'], -1), 'good.test'))).toMatch(
      /^CHECK_FAILED: No TLS .*certificate has expired \(CERT_HAS_EXPIRED\)/,
    );
  });

  test('fails on a certificate that expires too soon, and names the days left and the days expected', async () => {
    const certificate = authority.issue('soon', ['DNS:good.test'], 5);
    expect(outcome(await visit(certificate, 'good.test', true, 14))).toMatch(
      /^CHECK_FAILED: Of 127\.0\.0\.1:\d+, the certificate of soon is valid until \S+Z, [45] days left\. At least 14 were expected\.$/,
    );
    expect(outcome(await visit(certificate, 'good.test', true, 4))).toBe('ok');
    expect(outcome(await visit(certificate, 'good.test', true, 0))).toBe('ok');
  });

  test('reports an expired certificate, whatever days were expected', async () => {
    expect(outcome(await visit(authority.issue('past', ['DNS:good.test'], -1), 'good.test', true, 0))).toMatch(
      /^CHECK_FAILED: No TLS .*certificate has expired/,
    );
  });

  test('describes a refused certificate: whose, for what, from whom and until when', async () => {
    const [issued, until] = ['issued by Test authority for DNS:good\\.test', 'is valid from \\S+Z until \\S+Z'];
    const refused = (why: string, name: string, host: string) =>
      new RegExp(
        `^CHECK_FAILED: No TLS with \\S+: ${why}; that of ${name}, ${issued}, ${until}\\. A certificate valid for ${host} was expected\\.$`,
      );
    const old = await visit(authority.issue('old', ['DNS:good.test'], -1), 'good.test');
    expect(outcome(old)).toMatch(refused('certificate has expired \\(CERT_HAS_EXPIRED\\)', 'old', 'good.test'));
    const named = authority.issue('named', ['DNS:good.test'], 30);
    expect(outcome(await visit(named, 'other.test'))).toMatch(
      refused('certificate is for other names \\(ERR_TLS_CERT_ALTNAME_INVALID\\)', 'named', 'other.test'),
    );
    expect(outcome(await visit(named, 'good.test', false))).toMatch(
      refused('authority of the certificate is not known here \\(UNABLE_TO_\\w+\\)', 'named', 'good.test'),
    );
  });

  test('sends nothing to a server whose certificate is refused', async () => {
    let requests = 0;
    const server = https.createServer(authority.issue('quiet', ['DNS:good.test'], 30), (_, response) => {
      requests += 1;
      response.end();
    });
    const { port } = await listening(server);
    const { names } = await nameServer(() => ['127.0.0.1']);
    expect(outcome(await check({ endpoint: `https://good.test:${port}/` }, { names }))).toMatch(/No TLS/);
    expect(requests).toBe(0);
  });
});
