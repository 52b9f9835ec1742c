import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDocker } from '../../platform/docker/docker.ts';
import type { EngineError } from '../../platform/docker/errors.ts';
import type { TlsMaterial } from '../../platform/pem.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { requirePart } from '../support/parts.ts';
import { steadyPort } from '../support/ports.ts';
import { hasCommand, type OwnServer, ownEngine } from '../support/servers.ts';
import { until } from '../support/time.ts';

const isMissing =
  requirePart('docker', 'a Docker engine that is reached by TLS') === undefined ||
  !(await hasCommand('openssl', 'TLS to Docker'));
describe.skipIf(isMissing || process.getuid?.() !== 0)('a Docker engine reached by TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let engine: OwnServer;
  let port: number;
  beforeAll(async () => {
    [authority, stranger] = [await makeAuthority(), await makeAuthority('Another authority')];
    port = await steadyPort();
    const { certFile, keyFile } = authority.issue('engine', ['IP:127.0.0.1']);
    const files = ['--tlscacert', authority.caFile, '--tlscert', certFile, '--tlskey', keyFile];
    engine = await ownEngine({
      liveRestore: false,
      options: ['-H', `tcp://127.0.0.1:${port}`, '--tlsverify', ...files],
    });
    await engine.start();
  });
  afterAll(async () => {
    await engine?.close();
    await Promise.all([authority?.close(), stranger?.close()]);
  });

  async function reach(tls?: TlsMaterial, name = '127.0.0.1'): Promise<string> {
    const docker = createDocker({ host: `tcp://${name}:${port}`, tls, log: pino({ level: 'silent' }) });
    const answer = () =>
      docker.engineId().then(
        (id) => (id === '' ? 'no id' : 'up'),
        (error: EngineError) => {
          const cause = error.cause instanceof Error ? error.cause.message : undefined;
          expect([error.message, cause]).toContain(error.words); // what the log shows
          return error.words;
        },
      );
    // The refusal of our certificate may arrive while we write, and a reset may hide it. A worker
    // asks again, so this does too.
    return until('it says more than that it was reset', async () => {
      const said = await answer();
      return /ECONNRESET|EPIPE/.test(said) ? undefined : said;
    });
  }

  test('answers a client whose certificate it knows, and streams to it', async () => {
    const { cert, key } = authority.issue('client', ['DNS:client.test']);
    const tls = { ca: authority.ca, cert, key };
    expect(await reach(tls)).toBe('up');
    const docker = createDocker({ host: `tcp://127.0.0.1:${port}`, tls, log: pino({ level: 'silent' }) });
    const spec = {
      name: `tls-${process.pid}`,
      image: 'alpine:3',
      entrypoint: ['echo', 'over TLS'],
      labels: {},
      network: 'none' as const,
    };
    const id = await docker.createContainer(spec);
    await docker.startContainer(id);
    let output = '';
    for await (const part of await docker.openLog(id, { follow: true, signal: AbortSignal.timeout(20_000) }))
      output += part;
    expect(output).toContain('over TLS');
    await docker.removeContainer(id, { force: true });
  });

  test('is not used, or refuses us, if one side does not trust the other: a message says what to set', async () => {
    const { cert, key } = authority.issue('other-client', ['DNS:client.test']);
    const strange = stranger.issue('client', ['DNS:client.test']);
    expect(await reach({ cert, key })).toMatch(/Set DOCKER_TLS_CA to/);
    expect(await reach({ ca: stranger.ca, cert, key })).toMatch(/Set DOCKER_TLS_CA to/);
    expect(await reach({ ca: authority.ca })).toMatch(/DOCKER_TLS_CERT and DOCKER_TLS_KEY/);
    expect(await reach({ ca: authority.ca, cert: strange.cert, key: strange.key })).toMatch(
      /DOCKER_TLS_CERT and DOCKER_TLS_KEY/,
    );
    expect(await reach({ ca: authority.ca, cert, key }, 'localhost')).toMatch(/certificate is for other names/);
    // The engine's own message to a client without TLS.
    expect(await reach()).toMatch(/HTTPS server/);
  });
});
