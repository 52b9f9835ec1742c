import Dockerode from 'dockerode';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { builtLabels, generationOf, layerOf } from '../../workers/workflow/builds/built-image.ts';
import { requirePart } from '../support/parts.ts';
import { publishImage } from '../support/published-image.ts';
import { hasRegistry, type Registry, type RegistryProxy, registryProxy, startRegistry } from '../support/registry.ts';
import { until } from '../support/time.ts';
import { madeWith } from './engine-state.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const untested = 'pulls from a registry: pinning by digest, 429, cancellation';
const host = requirePart('docker', untested);
const able = (await hasRegistry(untested)) && host !== undefined;
describe.skipIf(!able)('images of a registry', () => {
  const marker = `marker-${newId()}`;
  const docker = new Dockerode(); // uses DOCKER_HOST
  let here: Installation;
  let registry: Registry;
  let proxy: RegistryProxy;
  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await registryProxy(registry.port);
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(async () => {
    await until('nothing of it is left', async () => {
      for (const id of (await madeWith(host, marker)).images)
        await docker
          .getImage(id)
          .remove({ force: true })
          .catch(() => undefined); // it has a child or is still in use
      const { images, containers } = await madeWith(host, marker);
      return images.length + containers.length === 0;
    });
    await here.close();
    await proxy.close();
    await registry.close();
  });

  /** Pushes a new image under this name and removes it from the engine. */
  async function push(name: string, ...steps: string[]): Promise<string> {
    const tag = `127.0.0.1:${registry.port}/${name}`;
    const dockerfile = [`FROM ${IMAGE}`, `RUN echo ${marker} ${newId()}`, ...steps].join('\n');
    const signal = new AbortController().signal;
    const spec = { tag, dockerfile, files: [], labels: {}, network: 'none', cpus: 1, memoryBytes: 256 * 1024 * 1024 };
    await here.docker.buildImage(spec, { onLine: () => undefined, signal });
    const pushed = await docker.getImage(tag).push({ authconfig: { username: '', password: '' } });
    let text = '';
    for await (const part of pushed) text += part;
    expect(text).toContain('digest: sha256:');
    await docker.getImage(tag).remove({ force: true });
    return tag;
  }
  const viaProxy = (tag: string) => tag.replace(`:${registry.port}/`, `:${proxy.port}/`);
  const noiseLayer = 'RUN head -c 3000000 /dev/urandom > /noise';

  async function keyOf(id: string) {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    return { id, userId: row?.userId ?? '' };
  }
  async function runAgain(id: string): Promise<void> {
    await runWorkflow(here.database.db, await keyOf(id));
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
  }

  test('every job of a generation runs the image of its build, even if the tag has moved or the engine no longer has the image', async () => {
    const { db } = here.database;
    const image = await push('moving:1', 'CMD ["echo", "one"]');
    const { id, buildId } = await here.create({ image });
    expect(await storedTexts(db, (await here.job(id, 'COMPLETED')).id)).toEqual(['one']);
    const build = await buildIn(db, buildId, 'COMPLETED');
    expect(build.imageDigest).toMatch(/^127\.0\.0\.1:\d+\/moving@sha256:[0-9a-f]{64}$/);

    await push('moving:1', 'CMD ["echo", "two"]');
    await docker.pull(image).then(async (stream) => {
      for await (const _ of stream);
    });
    expect(await here.docker.findImage(image)).not.toBe(build.imageId);
    await runAgain(id);
    expect(await storedTexts(db, (await here.job(id, 'COMPLETED', 1)).id)).toEqual(['one']);

    await until('its container is gone', async () => (await here.containers()).length === 0);
    await docker.getImage(build.imageId ?? '').remove({ force: true });
    await runAgain(id);
    expect(await storedTexts(db, (await here.job(id, 'COMPLETED', 2)).id)).toEqual(['one']);
    expect(await here.docker.findImage(image)).not.toBe(build.imageId); // the tag is unchanged
  });

  test('a registry that answers 429 twice is asked again, within one attempt', async () => {
    const image = viaProxy(await push('busy:1', 'CMD ["true"]'));
    proxy.busy(2);
    const { buildId } = await here.create({ image });
    expect(await buildIn(here.database.db, buildId, 'COMPLETED')).toMatchObject({ attempt: 1 });
    const again = (await storedTexts(here.database.db, buildId)).filter((line) =>
      /TOOMANYREQUESTS.*Trying again/.test(line),
    );
    expect(again).toHaveLength(2);
  });

  test('a Dockerfile that begins from such an image waits for it too', async () => {
    const image = viaProxy(await push('busy:2', 'CMD ["true"]'));
    proxy.busy(1);
    const { id, buildId } = await here.create({ build: { dockerfile: `FROM ${image}\nRUN echo ${marker}` } });
    expect(await buildIn(here.database.db, buildId, 'COMPLETED')).toMatchObject({ attempt: 1 });
    await here.job(id, 'COMPLETED');
  });

  test('an image that the registry does not have is not requested again', async () => {
    const { buildId } = await here.create({ image: `127.0.0.1:${registry.port}/none:1` });
    const build = await buildIn(here.database.db, buildId, 'FAILED');
    expect(build).toMatchObject({ attempt: 1, error: expect.stringContaining('(MANIFEST_UNKNOWN)') });
    expect((await storedTexts(here.database.db, buildId)).join()).not.toContain('Trying again');
  });

  test('an image with a layer that is no archive is no outage of its registry: the build fails at once', async () => {
    const { architecture } = await here.docker.platform();
    const layer = Buffer.from(newId()); // too short for an archive
    await publishImage(registry, { repository: 'broken', tag: '1', architecture, layer });
    const { buildId } = await here.create({ image: `127.0.0.1:${registry.port}/broken:1` });
    const { error } = await buildIn(here.database.db, buildId, 'FAILED');
    expect(error).toContain('gives no image that the Docker engine can use');
  });

  test('an image that fetches URLs in builds that begin from it is refused as a base', async () => {
    const image = await push('trigger:1', 'ONBUILD ADD http://127.0.0.1:1/ /x');
    const { buildId } = await here.create({ build: { dockerfile: `FROM ${image}` } });
    expect((await buildIn(here.database.db, buildId, 'FAILED')).error).toContain('ONBUILD');
  });

  test("an image with labels like ours makes no layer that is mistaken for a build's own", async () => {
    const forged = { generation: 'x', workflow: newId(), installation: 'x' };
    const image = await push(
      'forged:1',
      Object.entries(forged)
        .map(([name, value]) => `LABEL chronoverse.image.${name}=${value}`)
        .join('\n'),
    );
    const dockerfile = `FROM ${image}\nRUN echo ${marker} > /x\nRUN sleep 600 # ${marker}`;
    const { id, buildId } = await here.create({ build: { dockerfile } });
    await until(
      'its last step runs',
      async () => (await madeWith(host, `sleep 600 # ${marker}`)).containers.length > 0,
    );
    const layers = await here.docker.listImages(builtLabels(here.installation));
    expect(layers.map((layer) => [layerOf(layer), generationOf(layer)])).toContainEqual([id, undefined]);
    await terminateWorkflow(here.database.db, await keyOf(id));
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([buildId]));
    await buildIn(here.database.db, buildId, 'CANCELED');
  });

  test('an image with labels that fill lists of the engine is refused, and is removed', async () => {
    const label = (n: number) => `LABEL l${n}=${'x'.repeat(30_000)}`;
    const image = await push('labels:1', label(1), label(2), label(3));
    const { buildId } = await here.create({ build: { dockerfile: `FROM ${image}` } });
    expect((await buildIn(here.database.db, buildId, 'FAILED')).error).toMatch(/has labels of more than 65536 bytes/);
    expect(await here.docker.findImage(image)).toBeUndefined();
  });

  test('an image with more volumes than the engine can create quickly is refused, as a base too', async () => {
    const image = await push('volumes:1', `VOLUME ${Array.from({ length: 101 }, (_, n) => `/v${n}`).join(' ')}`);
    for (const payload of [{ image }, { build: { dockerfile: `FROM ${image}` } }]) {
      const { buildId } = await here.create(payload);
      expect((await buildIn(here.database.db, buildId, 'FAILED')).error).toMatch(/101 volumes.*100 are allowed/);
    }
  });

  test('a termination stops a pull half-way, on the engine too, and the pull blocks no other build', async () => {
    const { db } = here.database;
    const image = viaProxy(await push('large:1', noiseLayer));
    const holding = proxy.hold();
    const { id, buildId } = await here.create({ image });
    const { dropped } = await holding;

    const other = await here.create({ command: ['true'] });
    await here.job(other.id, 'COMPLETED');
    await terminateWorkflow(db, await keyOf(id));
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([buildId]));
    await buildIn(db, buildId, 'CANCELED');

    await dropped;
    expect(await here.docker.findImage(image)).toBeUndefined();
  });

  test('a cancellation stops the pull of a job whose engine lacks its image', async () => {
    const { db } = here.database;
    const image = viaProxy(await push('large:2', noiseLayer, 'CMD ["true"]'));
    const { id, buildId } = await here.create({ image });
    await here.job(id, 'COMPLETED');
    await until('its container is gone', async () => (await here.containers()).length === 0);
    await docker.getImage((await buildIn(db, buildId, 'COMPLETED')).imageId ?? '').remove({ force: true });
    const holding = proxy.hold();
    await runAgain(id);
    const { dropped } = await holding;
    const { userId } = await keyOf(id);
    const job = await here.job(id, 'RUNNING', 1);
    expect(await cancelJob(db, { userId, id: job.id })).toMatchObject({ outcome: 'STOPPING' });
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([job.id]));
    await here.job(id, 'CANCELED', 1);
    await dropped;
  });
});
