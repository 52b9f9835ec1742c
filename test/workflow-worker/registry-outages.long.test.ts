import { createServer, type Server } from 'node:http';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builds, workflows } from '../../db/schema.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { deleteWorkflow, terminateWorkflow } from '../../db/workflows/terminate.ts';
import { updateWorkflow } from '../../db/workflows/workflows.ts';
import { newId } from '../../domain/ids.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { publishEffects } from '../../platform/publish.ts';
import { removeImage } from '../support/login-registry.ts';
import { requirePart } from '../support/parts.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { hasRegistry, type Registry, type RegistryProxy, registryProxy, startRegistry } from '../support/registry.ts';
import { until } from '../support/time.ts';
import { quiet, registryPolicy } from '../support/workers.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts, waitingBuild } from './support.ts';

const untested = 'builds while their registry is away';
const host = requirePart('docker', untested);
const able = (await hasRegistry(untested)) && host !== undefined;
describe.skipIf(!able)('a build whose registry is away', () => {
  const engine = createEngine({ host });
  let here: Installation;
  let registry: Registry;
  let proxy: RegistryProxy;
  let line: TestProxy;
  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await registryProxy(registry.port);
    line = await proxyTo('127.0.0.1', registry.port);
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(async () => {
    line.restore();
    await here.close();
    await line.close();
    await proxy.close();
    await registry.close();
  });

  /** Pushes the base image under a new name, and resolves with its name at another port. */
  async function pushed(port: number): Promise<string> {
    const name = newId();
    const repo = `127.0.0.1:${registry.port}/${name}`;
    await engine.call({ method: 'POST', path: `/images/${IMAGE}/tag`, query: { repo, tag: '1' } });
    const registryAuth = { username: '', password: '', serveraddress: '' };
    const answer = await engine.open({
      method: 'POST',
      path: `/images/${repo}/push`,
      query: { tag: '1' },
      registryAuth,
    });
    for await (const _ of answer);
    await removeImage(host ?? '', `${repo}:1`);
    return `127.0.0.1:${port}/${name}:1`;
  }
  const db = () => here.database.db;
  const keyOf = async (id: string) => {
    const [row] = await db().select().from(workflows).where(eq(workflows.id, id));
    return { id, userId: row?.userId ?? '' };
  };
  const tryNow = async (id: string, at = here) => {
    const rebuilt = await rebuildWorkflow(at.database.db, await keyOf(id));
    if (!('effects' in rebuilt)) throw new Error(rebuilt.outcome);
    await publishEffects({ ...at.parts, log: quiet }, rebuilt.effects);
  };

  test('P4: closed or silent, answering 503 or 429: it waits, says so line by line, and is built afterwards', async () => {
    const away = await Promise.all([pushed(line.port), pushed(proxy.port)]);
    line.cut();
    proxy.instead = { status: 503 };
    const made = await Promise.all(away.map((image) => here.create({ image, args: ['true'] })));
    made.push(await here.create({ build: { dockerfile: `FROM ${away[0]}\nRUN echo ${newId()}` }, args: ['true'] }));
    for (const [n, { buildId }] of made.entries()) {
      const sentence = n === 1 ? 'answers with an error of its own.' : 'could not be reached.';
      expect((await waitingBuild(db(), buildId)).waitsFor).toContain(sentence);
    }
    line.freeze();
    proxy.instead = { status: 429 };
    const [frozen, busy] = made;
    for (const one of [frozen, busy]) await tryNow(one?.id ?? '');
    await until('both wait again', async () => {
      const rows = await db().select().from(builds).where(eq(builds.waits, 2));
      return rows.every(({ status }) => status === 'QUEUED') && rows.length >= 2;
    });
    expect((await storedTexts(db(), busy?.buildId ?? '')).at(-1)).toMatch(
      /^The registry .* asks to come back later \(TOOMANYREQUESTS\)\. Trying again in \d+ s\.$/,
    );
    line.restore();
    proxy.instead = undefined;
    for (const { id, buildId } of made) {
      const { uncountedAttempts, attempt, waitsFor } = await buildIn(db(), buildId, 'COMPLETED');
      expect({ attempt, waitsFor }).toEqual({ attempt: uncountedAttempts + 1, waitsFor: null });
      expect(
        (await storedTexts(db(), buildId)).filter((text) => text.includes('Trying again in')).length,
      ).toBeGreaterThan(0);
      await here.job(id, 'COMPLETED');
    }
  });

  test('waits for as long as the registry asks (Retry-After), up to an hour', async () => {
    const image = await pushed(proxy.port);
    for (const [asked, least, most] of [
      ['100', 95, 101],
      [new Date(Date.now() + 600_000).toUTCString(), 500, 601],
      ['999999', 3_500, 3_601],
    ] as const) {
      proxy.instead = { status: 429, headers: { 'retry-after': asked } };
      const { id, buildId } = await here.create({ image });
      await waitingBuild(db(), buildId);
      const [row] = await db().execute<{ s: number }>(
        sql`SELECT extract(epoch FROM retry_at - now())::float AS s FROM builds WHERE id = ${buildId}`,
      );
      expect(row?.s).toBeGreaterThan(least - 5);
      expect(row?.s).toBeLessThan(most);
      await terminateWorkflow(db(), await keyOf(id));
    }
    proxy.instead = undefined;
  });

  test('P5: an update, a termination or a deletion ends the wait', async () => {
    const image = '127.0.0.1:1/no/such:1';
    const made = await Promise.all([here.create({ image }), here.create({ image }), here.create({ image })]);
    for (const { buildId } of made) await waitingBuild(db(), buildId);
    const [updated, terminated, deleted] = await Promise.all(made.map(({ id }) => keyOf(id)));
    if (!(updated && terminated && deleted)) throw new Error('There are three.');
    const next = await updateWorkflow(db(), {
      ...updated,
      payload: { kind: 'CONTAINER', image: IMAGE, args: ['true'] },
    });
    await terminateWorkflow(db(), terminated);
    await deleteWorkflow(db(), deleted);
    for (const { buildId } of made) await buildIn(db(), buildId, 'CANCELED');
    if (next.outcome !== 'UPDATED') throw new Error(next.outcome);
    await publishEffects({ ...here.parts, log: quiet }, next.effects);
    await here.job(updated.id, 'COMPLETED');
  });

  test('P4: holds no place meanwhile, and goes on after the end of its worker', async () => {
    const other = await openInstallation(host);
    const first = await other.start();
    const image = await pushed(proxy.port);
    proxy.instead = { status: 503 };
    const made = await Promise.all(Array.from({ length: 6 }, () => other.create({ image, args: ['true'] })));
    for (const { buildId } of made) await waitingBuild(other.database.db, buildId);
    const prompt = await other.create({ args: ['true'] });
    await buildIn(other.database.db, prompt.buildId, 'COMPLETED');
    await other.job(prompt.id, 'COMPLETED');
    await first.close();
    proxy.instead = undefined;
    await other.start();
    for (const { id, buildId } of made) {
      await buildIn(other.database.db, buildId, 'COMPLETED');
      await other.job(id, 'COMPLETED');
    }
    await other.close();
  });

  test('a token server that is away is no refusal', async () => {
    let status = 503;
    const server: Server = createServer(({ url = '', headers }, response) => {
      if (url.startsWith('/token')) response.writeHead(status).end('{}');
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` }).end();
    }).listen(0, '127.0.0.1');
    await until('it listens', async () => server.listening);
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { id, buildId } = await here.create({ image: `127.0.0.1:${port}/app:1` });
    await waitingBuild(db(), buildId);
    status = 403;
    await tryNow(id);
    expect((await buildIn(db(), buildId, 'FAILED')).error).toMatch(/\((UNAUTHORIZED|DENIED)\)/);
    server.closeAllConnections();
    server.close();
  });

  test('the engine asks a registry that the operator names, and its outage is waited out too', async () => {
    const named = await openInstallation(host);
    await named.start({ registryAllow: registryPolicy(`127.0.0.1:${proxy.port}`) });
    const image = await pushed(proxy.port);
    proxy.instead = { status: 502 };
    const { id, buildId } = await named.create({ image, args: ['true'] });
    await waitingBuild(named.database.db, buildId);
    proxy.instead = undefined;
    await buildIn(named.database.db, buildId, 'COMPLETED');
    await named.job(id, 'COMPLETED');
    await named.close();
  });
});
