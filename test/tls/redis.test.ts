import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRedisCache } from '../../platform/cache/redis.ts';
import type { TlsMaterial } from '../../platform/pem.ts';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { steadyPort } from '../support/ports.ts';
import { hasCommand, type OwnServer, serverOf } from '../support/servers.ts';
import { until } from '../support/time.ts';

const untested = 'TLS to Redis';
const isMissing = !(await hasCommand('redis-server', untested)) || !(await hasCommand('openssl', untested));
describe.skipIf(isMissing)('a Redis reached by TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let own: Certificate;
  let redis: OwnServer;
  let port: number;
  beforeAll(async () => {
    [authority, stranger] = [await makeAuthority(), await makeAuthority('Another authority')];
    port = await steadyPort();
    const { certFile, keyFile } = authority.issue('redis', ['IP:127.0.0.1']);
    own = authority.issue('client', ['DNS:client.test']);
    const dir = await mkdtemp(join(tmpdir(), 'chronoverse-redis-'));
    const tls = [
      '--tls-cert-file',
      certFile,
      '--tls-key-file',
      keyFile,
      '--tls-ca-cert-file',
      authority.caFile,
      '--tls-auth-clients',
      'yes',
    ];
    const args = [
      '--port',
      '0',
      '--tls-port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      dir,
      '--save',
      '',
      '--requirepass',
      'sesame',
      ...tls,
    ];
    redis = serverOf({
      address: `rediss://:sesame@127.0.0.1:${port}`,
      dir,
      launch: { command: 'redis-server', args },
      probe: () =>
        new Promise((resolve, reject) => {
          const socket = connect({ port, host: '127.0.0.1', ca: authority.ca, cert: own.cert, key: own.key });
          socket.once('secureConnect', () => resolve(void socket.destroy()));
          socket.once('error', reject);
        }),
    });
    await redis.start();
  });
  afterAll(async () => {
    await redis?.close();
    await Promise.all([authority?.close(), stranger?.close()]);
  });

  async function tryCache(url: string, tls?: TlsMaterial) {
    const logged: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(JSON.parse(line).msg) });
    const cache = await createRedisCache({ url, tls, prefix: '', log });
    try {
      if (!(await cache.isUp())) return await until('it says why', async () => logged.at(-1));
      const hint = new Promise<string>(
        (resolve) => void cache.subscribe('c', resolve).then(() => cache.publish('c', 'a hint')),
      );
      await cache.set('k', 'over TLS', 60);
      return [await cache.get('k'), await hint];
    } finally {
      await cache.close();
    }
  }

  test('serves a client whose certificate it knows, both commands and hints', async () => {
    const { cert, key } = own;
    expect(await tryCache(redis.address, { ca: authority.ca, cert, key })).toEqual(['over TLS', 'a hint']);
  });

  test('is not used, or refuses us, if one side does not trust the other: a message says what to set', async () => {
    const { cert, key } = stranger.issue('client', ['DNS:client.test']);
    const { ca } = authority;
    expect(await tryCache(redis.address, { cert: own.cert, key: own.key })).toMatch(/Set REDIS_TLS_CA to/);
    expect(await tryCache(redis.address, { ca: stranger.ca, cert: own.cert, key: own.key })).toMatch(
      /Set REDIS_TLS_CA to/,
    );
    expect(await tryCache(redis.address, { ca })).toMatch(/REDIS_TLS_CERT and REDIS_TLS_KEY/);
    expect(await tryCache(redis.address, { ca, cert, key })).toMatch(/REDIS_TLS_CERT and REDIS_TLS_KEY/);
    const wrong = await tryCache(redis.address.replace('sesame', 'open'), { ca, cert: own.cert, key: own.key });
    expect(wrong).toMatch(/refuses our user or password: check REDIS_URL/);
    expect(
      await tryCache(redis.address.replace('127.0.0.1', 'localhost'), { ca, cert: own.cert, key: own.key }),
    ).toMatch(/certificate is for other names/);
  });
});
