import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redirectTarget } from '../../workers/workflow/registry/client.ts';
import { createRegistries } from '../../workers/workflow/registry/registries.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { registryPolicy } from '../support/workers.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const never = new AbortController().signal;
const registries = createRegistries(registryPolicy('127.0.0.1/32'));

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});
afterAll(() => authority.close());

const userAgent = async () => 'docker/1.0.0';
const platform = async () => ({ os: 'linux', architecture: 'amd64' });

/** The digest that is accepted from a registry for an image that the engine has under DIGEST. */
async function digestFrom(
  server: http.Server | https.Server,
): Promise<{ digest: string | undefined; asked: string[] }> {
  const asked: string[] = [];
  server.on('request', ({ method, url }: http.IncomingMessage, response: http.ServerResponse) => {
    asked.push(`${method} ${url}`);
    response.setHeader('docker-content-digest', DIGEST);
    response.end(method === 'GET' ? '{}' : undefined);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const digest = await registries.admit(`127.0.0.1:${port}/private/app:1`, {
    auth: undefined,
    digests: [DIGEST],
    platform,
    userAgent,
    signal: never,
  });
  server.closeAllConnections();
  server.close();
  return { digest, asked };
}

test('a digest that comes with an invalid certificate vouches for no image: the engine asks', async () => {
  const { digest, asked } = await digestFrom(https.createServer(authority.issue('registry', ['IP:127.0.0.1'])));
  expect(asked).toContain('HEAD /v2/private/app/manifests/1');
  expect(digest).toBeUndefined();
});

test('one that comes over loopback is accepted', async () => {
  expect((await digestFrom(http.createServer())).digest).toBe(DIGEST);
});

test('a registry that requires a token only for a manifest gets one', async () => {
  const server = http.createServer(({ url = '', headers }, response) => {
    if (url.startsWith('/token')) response.end(JSON.stringify({ token: 'pass' }));
    else if (url === '/v2/' || headers.authorization === 'Bearer pass')
      response.setHeader('docker-content-digest', DIGEST).end('{}');
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` }).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const at = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const digests = [DIGEST];
  const options = { auth: undefined, digests, platform, userAgent, signal: never };
  expect(await registries.admit(`${at}/app:1`, options)).toBe(DIGEST);
  server.closeAllConnections();
  server.close();
});

test('no login goes to a token server named by a registry with an invalid certificate', async () => {
  const seen: (string | undefined)[] = [];
  const tokens = http.createServer(({ headers }, response) => {
    seen.push(headers.authorization);
    response.end(JSON.stringify({ token: 'pass' }));
  });
  const challenge = (_: http.IncomingMessage, response: http.ServerResponse) => {
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://127.0.0.1:${portOf(tokens)}/token"` }).end();
  };
  const unknown = https.createServer(authority.issue('login', ['IP:127.0.0.1']), challenge);
  const known = http.createServer(challenge); // no attacker can be in between on loopback
  const servers = [tokens, unknown, known];
  for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening');
  const auth = { username: 'ann', password: 'open-sesame-4711' };
  const options = { auth, digests: [], platform, userAgent, signal: never };
  const ask = (server: http.Server) => registries.admit(`127.0.0.1:${portOf(server)}/private/app:1`, options);
  await expect(ask(unknown)).rejects.toMatchObject({ kind: 'DENIED' });
  expect(seen).toEqual([undefined]);
  await expect(ask(known)).rejects.toMatchObject({ kind: 'DENIED' });
  expect(seen).toEqual([undefined, `Basic ${Buffer.from('ann:open-sesame-4711').toString('base64')}`]);
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

test('a host name that two parsers might read differently is rejected', () => {
  expect(redirectTarget('/v2/a?b=[c]', new URL('https://registry.example'))?.href).toBe(
    'https://registry.example/v2/a?b=[c]',
  );
  for (const text of [
    'http://a@b/',
    'http://a\\@b/',
    'http://fa\u00df.example/',
    'http://\uff11.example/',
    'http://a /',
    '//a\u3002b/',
  ])
    expect(redirectTarget(text, new URL('https://registry.example')), text).toBeUndefined();
});

function portOf(server: http.Server | https.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
