import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BAITS, MISSING, openHostileRegistry, openTarget, type Target } from '../support/hostile-registry.ts';
import { requirePart } from '../support/parts.ts';
import { registryPolicy } from '../support/workers.ts';
import { buildIn, type Installation, openInstallation, storedTexts, waitingBuild } from './support.ts';

const host = requirePart('docker', 'which registries the engine is sent to');
describe.skipIf(host === undefined)('registries that the engine may not ask', () => {
  let here: Installation;
  let target: Target;
  let registry: Awaited<ReturnType<typeof openHostileRegistry>>;
  beforeAll(async () => {
    target = await openTarget();
    registry = await openHostileRegistry(target.url);
    here = await openInstallation(host);
    await here.start({ registryAllow: registryPolicy('public,127.0.0.1/32') });
  });
  afterAll(async () => {
    await here.close();
    await registry.close();
    await target.close();
  });

  async function errorOf(payload: { image: string } | { build: { dockerfile: string } }): Promise<string> {
    const { buildId } = await here.create(payload);
    const { error } = await buildIn(here.database.db, buildId, 'FAILED');
    expect((await storedTexts(here.database.db, buildId)).join('\n')).not.toContain('4711');
    return error ?? '';
  }

  test.each(BAITS)(
    'one that leads to a forbidden address by its %s is refused before the engine asks anything',
    async (bait) => {
      registry.set(bait);
      registry.askers.length = 0;
      expect(await errorOf({ image: `127.0.0.1:${registry.port}/team/app:1` })).toMatch(/REGISTRY_ALLOW/);
      expect(registry.askers).not.toContain('engine');
      expect(target.seen).toEqual([]);
    },
  );

  test.each(MISSING)('one that tells the worker that its %s is missing gets no request of the engine', async (what) => {
    registry.set('blob');
    registry.askers.length = 0;
    const error = await errorOf({ image: `127.0.0.1:${registry.port}/team/missing-${what}:1` });
    expect(error).toMatch(
      what === 'layer' ? /^What answers as the registry .* gives no image/ : /has no image .*\(MANIFEST_UNKNOWN\)/,
    );
    expect(registry.askers).toContain('worker');
    expect(registry.askers).not.toContain('engine');
    expect(target.seen).toEqual([]);
  });

  test('an address is checked in every notation, in a Dockerfile too', async () => {
    const port = new URL(target.url).port;
    const written = [
      '127.0.0.2',
      '2130706434',
      '0x7f.2',
      '0177.0.0.2',
      '127.2',
      '[::ffff:127.0.0.2]',
      '[::ffff:7f00:2]',
    ];
    const others = ['169.254.169.254', '2852039166', '[fd00:ec2::254]', '[64:ff9b::a9fe:a9fe]', '10.0.0.1'];
    for (const image of [...written, ...others].map((name) => `${name}:${port}/app:1`)) {
      expect(await errorOf({ image }), image).toMatch(/REGISTRY_ALLOW|must|malformed/);
    }
    expect(await errorOf({ build: { dockerfile: `FROM 127.0.0.2:${port}/app:1` } })).toMatch(/REGISTRY_ALLOW/);
    expect(target.seen).toEqual([]);
  });

  test('a name that does not resolve gives the same message as a forbidden one', async () => {
    const unknownHost = `${'a'.repeat(64)}.example`; // no resolver accepts it
    const [forbidden, unknown] = [
      await errorOf({ image: '127.0.0.2:1/a:1' }),
      await errorOf({ image: `${unknownHost}/a:1` }),
    ];
    expect(forbidden).toBe(unknown.replace(unknownHost, '127.0.0.2:1'));
  });

  test('the answer of a service that is not a registry is shown to no user', async () => {
    const service = createServer((_, response) => response.writeHead(403).end('admin=4711')).listen(0, '127.0.0.1');
    await once(service, 'listening');
    const address = service.address();
    const at = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const { buildId } = await here.create({ image: '127.0.0.1:1/app:1' });
    expect(await errorOf({ image: `${at}/app:1` })).toBe(
      `What answers as the registry ${at} gives no image that the Docker engine can use.`,
    );
    // A closed port may be open soon, so the build waits.
    expect((await waitingBuild(here.database.db, buildId)).waitsFor).toBe(
      'The registry 127.0.0.1:1 could not be reached.',
    );
    service.close();
  });

  test('one that redirects endlessly, or whose image has too many parts, keeps no worker busy', async () => {
    registry.set('blob');
    registry.askers.length = 0;
    const at = `127.0.0.1:${registry.port}`;
    const [endless, large, many] = await Promise.all(
      ['endless', 'large', 'many'].map((name) => errorOf({ image: `${at}/team/${name}:1` })),
    );
    expect([endless, large]).toEqual(
      Array(2).fill(`What answers as the registry ${at} gives no image that the Docker engine can use.`),
    );
    expect(many).toMatch(/REGISTRY_ALLOW/);
    expect(registry.askers).not.toContain('engine');
  });

  test('one that the operator names is trusted with its redirects', async () => {
    const named = await openInstallation(host);
    await named.start({ registryAllow: registryPolicy(`127.0.0.1:${registry.port}`) });
    registry.set('manifest');
    const { buildId } = await named.create({ image: `127.0.0.1:${registry.port}/team/app:2` });
    await buildIn(named.database.db, buildId, 'FAILED');
    expect(target.seen.length).toBeGreaterThan(0);
    expect(target.seen).toContainEqual(expect.stringMatching(/^docker/));
    // Workers and engines use the same user agent.
    expect(new Set(registry.agents)).toEqual(new Set([await here.docker.registryAgent()]));
    target.seen.length = 0;
    await named.close();
  });
});
