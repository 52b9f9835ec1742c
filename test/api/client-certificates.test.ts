import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startExecution } from '../../workers/execution/worker.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type CertificateMaker, certificateMaker, type Issued, sending } from '../support/chains.ts';
import { jobIn } from '../support/jobs.ts';
import { readLines } from '../support/lines.ts';
import { hasCommand } from '../support/servers.ts';
import { loopbackPolicy, quiet, testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'client certificates of heartbeats'));
const FIELDS =
  'id generation payload definition { ... on HeartbeatDefinition { tlsVerify tlsCa clientCertificate { certificate } tlsServerName hostHeader connectTo proxy proxyAuth { username } } }';
const { privateKey: LARGE_KEY } = generateKeyPairSync('rsa', {
  modulusLength: 4_104,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { ${FIELDS} } userErrors { code path message } } }`;

describe.skipIf(isMissing)('a client certificate', () => {
  let api: TestApi;
  let ann: Person;
  let made: CertificateMaker;
  let root: Issued;
  let visitor: Issued;
  let server: https.Server;
  let workers: Worker[];
  const seen: unknown[] = [];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    made = await certificateMaker();
    root = made.issue('Root', undefined);
    visitor = made.issue('visitor', root, { names: ['DNS:visitor.test'] });
    const site = made.issue('site', root, { names: ['IP:127.0.0.1'] });
    const options = { ...sending(site), requestCert: true, rejectUnauthorized: true, ca: root.cert };
    server = https.createServer(options, (request, response) => {
      seen.push((request.socket as TLSSocket).getPeerCertificate().subject.CN);
      response.writeHead(500, visitor.key.split('\n')[1]).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { db, bus, cache } = api;
    const parts = { db, bus, cache, log: quiet, owner: 'test', sealer: testSealer, allow: loopbackPolicy() };
    workers = [await startScheduling(parts), await startJoblogs(parts), await startExecution(parts)];
  });
  afterAll(async () => {
    for (const worker of workers ?? []) await worker.close();
    server?.close();
    await made?.close();
    await api?.close();
  });

  const heartbeat = (more: object = {}) => ({
    endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    tlsCa: root.cert,
    clientCertificate: { certificate: visitor.cert, key: visitor.key },
    ...more,
  });
  const create = (payload: object) => {
    const input = { payload: { heartbeat: payload }, maxConsecutiveJobFailuresAllowed: 100 };
    return createWorkflow(api, ann, input, FIELDS);
  };
  const update = async (id: string, payload: object) => {
    const { data } = await query(api, UPDATE, { token: ann.token, variables: { input: { id, payload } } });
    return data.updateWorkflow;
  };

  test('is shown to the server, and its key is in no answer, row, line or message', async () => {
    const { workflow, userErrors } = await create(heartbeat());
    expect(userErrors).toEqual([]);
    expect(workflow.definition).toMatchObject({ tlsCa: root.cert, clientCertificate: { certificate: visitor.cert } });
    expect(JSON.parse(workflow.payload).client_certificate).toEqual({
      certificate: visitor.cert,
      key: { secret: true },
    });
    const job = await jobIn(api.db, workflow.id, 'FAILED'); // the server says the key, and 500
    expect(seen).toEqual(['visitor']);
    expect(job.failureMessage).toContain('500 ***');
    const rows = await api.db.execute(sql`SELECT payload FROM payloads WHERE workflow_id = ${workflow.id}`);
    const said = JSON.stringify([workflow, rows, job, await readLines(api.db, job.id)]);
    for (const line of visitor.key.split('\n').filter((one) => one !== '')) expect(said).not.toContain(line);
  });

  test('is kept by an update without its key, while certificate and route are the same', async () => {
    const { workflow } = await create(heartbeat());
    expect(await update(workflow.id, { json: workflow.payload })).toEqual({ workflow, userErrors: [] });
    const client = { certificate: visitor.cert };
    const longer = await update(workflow.id, {
      heartbeat: heartbeat({ clientCertificate: client, timeoutSeconds: 5 }),
    });
    expect(longer).toMatchObject({ workflow: { generation: 2 }, userErrors: [] });
    const other = made.issue('other', root, { names: ['DNS:other.test'], keyOf: visitor });
    for (const more of [
      { clientCertificate: { certificate: other.cert } },
      { clientCertificate: client, connectTo: 'elsewhere:443' },
      { clientCertificate: client, tlsVerify: false },
    ])
      expect((await update(workflow.id, { heartbeat: heartbeat(more) })).userErrors).toEqual([
        {
          code: 'INVALID',
          path: ['payload', 'heartbeat', 'clientCertificate', 'key'],
          message: expect.stringMatching(/is kept only for the same certificate.* give it a value again/),
        },
      ]);
  });

  test('and the other fields of the way to an endpoint read back as they were given', async () => {
    const given = {
      tlsVerify: false,
      tlsServerName: 'a.example.com',
      hostHeader: 'b.example.com:8443',
      connectTo: '[fd00::5]:8443',
      proxy: 'http://proxy:3128',
    };
    const proxyAuth = { username: 'ann', password: 'open sesame' };
    const { workflow, userErrors } = await create({ endpoint: 'https://example.com', ...given, proxyAuth });
    expect(userErrors).toEqual([]);
    expect(workflow.definition).toEqual({
      ...given,
      tlsCa: null,
      clientCertificate: null,
      proxyAuth: { username: 'ann' },
    });
    expect(workflow.payload).not.toContain('sesame');
  });

  const wrong = (): [more: object, field: string[], message: RegExp][] => {
    const { cert, key } = visitor;
    const clientCertificate = (certificate: string, its?: string) => ({ clientCertificate: { certificate, key: its } });
    const AT_KEY = ['clientCertificate', 'key'];
    return [
      [{ tlsCa: 'x' }, ['tlsCa'], /must be certificates in PEM form/],
      [
        { tlsCa: `${cert}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----` },
        ['tlsCa'],
        /must be certificates/,
      ],
      [{ tlsCa: `${cert}${key}` }, ['tlsCa'], /must hold no private key: it can be read back/],
      [{ tlsCa: `${cert}${' '.repeat(33_000)}` }, ['tlsCa'], /at most 32768 bytes/],
      [clientCertificate(`${key}${cert}`, key), ['clientCertificate', 'certificate'], /must hold no private key/],
      [clientCertificate(cert, 'x'), AT_KEY, /^The key must be a private key in PEM form\.$/],
      [
        clientCertificate(cert, `-----BEGIN ENCRYPTED PRIVATE KEY-----`),
        AT_KEY,
        /must not be encrypted with a passphrase/,
      ],
      [clientCertificate(cert, root.key), AT_KEY, /^The key must be that of the first certificate/],
      [clientCertificate(cert, `${key}${' '.repeat(17_000)}`), AT_KEY, /at most 16384 bytes/],
      [clientCertificate(cert, LARGE_KEY), AT_KEY, /^The key has 4104 bits: an RSA key must have at most 4096\.$/],
      [clientCertificate(cert), AT_KEY, /give it a value/],
      [{ tlsServerName: '10.0.0.5' }, ['tlsServerName'], /must be a name/],
      [{ tlsServerName: 'a b' }, ['tlsServerName'], /must be a name/],
      [{ hostHeader: 'a/b' }, ['hostHeader'], /must be a host with or without a port/],
      [{ hostHeader: 'a\r\nX: y' }, ['hostHeader'], /must be a host/],
      [{ connectTo: 'example.com' }, ['connectTo'], /must be host:port/],
      [{ connectTo: 'user@example.com:80' }, ['connectTo'], /must be host:port/],
      [{ connectTo: 'example.com:0' }, ['connectTo'], /must be host:port/],
      [{ connectTo: `${'a'.repeat(300)}:80` }, ['connectTo'], /at most 300 characters/],
      [{ proxy: 'https://proxy:3128' }, ['proxy'], /must be http:\/\/host:port/],
      [{ proxy: 'http://ann:sesame@proxy:3128' }, ['proxy'], /go into proxy_auth/],
      [{ proxyAuth: { username: 'ann', password: 'x' } }, ['proxyAuth'], /A login needs a proxy/],
      [
        { endpoint: 'http://a', tlsCa: undefined, tlsVerify: false, clientCertificate: undefined },
        ['tlsVerify'],
        /https/,
      ],
      [
        { endpoint: 'tcp://a:1', tlsCa: undefined, connectTo: 'b:1', clientCertificate: undefined },
        ['connectTo'],
        /http/,
      ],
      [{ headers: [{ name: 'Host', value: 'a' }] }, ['headers', '0', 'name'], /give another one as host_header/],
    ];
  };
  test('and its neighbours are refused with a sentence that names the field', async () => {
    for (const [more, path, message] of wrong())
      expect((await create(heartbeat(more))).userErrors).toEqual([
        { code: 'INVALID', path: ['payload', 'heartbeat', ...path], message: expect.stringMatching(message) },
      ]);
  });
});
