import { EventEmitter, once } from 'node:events';
import Docker from 'dockerode';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runWorkflow } from '../../db/jobs/request.ts';
import { engineImages, workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import type { Docker as Engine } from '../../platform/docker/docker.ts';
import { builtTag } from '../../workers/workflow/builds/built-image.ts';
import { sweepImages } from '../../workers/workflow/sweeps/images.ts';
import { sweepPulledImages } from '../../workers/workflow/sweeps/pulled-images.ts';
import { requirePart } from '../support/parts.ts';
import { hasRegistry, type Registry, startRegistry } from '../support/registry.ts';
import { until } from '../support/time.ts';
import { buildIn, IMAGE, type Installation, openInstallation } from './support.ts';

const WHAT = 'how long pulled images stay on the engine';
const host = requirePart('docker', WHAT);
const isReady = host !== undefined && (await hasRegistry(WHAT));
const DAYS = 30;

describe.skipIf(!isReady)('a pulled image', () => {
  const client = new Docker({ socketPath: host?.slice('unix://'.length) });
  let registry: Registry;
  let here: Installation;
  let other: Installation;
  let count = 0;
  beforeAll(async () => {
    registry = await startRegistry();
    here = await openInstallation(host);
    await here.start({ imageRetentionDays: 0 }); // the tests sweep
    other = await openInstallation(host);
    await other.start({ imageRetentionDays: 0 });
  });
  afterAll(async () => {
    await here.close();
    await other.close();
    for (const { Id, RepoTags } of await client.listImages())
      if (RepoTags?.some((name) => name.includes(`:${registry.port}/`) || name.startsWith('kept-'))) {
        for (const name of RepoTags) await client.getImage(name).remove({ force: true });
        expect(Id).toContain('sha256:');
      }
    await registry.close();
  });

  /** Pushes a new image under these tags, which then is in the registry alone. */
  async function publish(tags = ['1'], repo = `127.0.0.1:${registry.port}/app${count + 1}`): Promise<string> {
    const text = `image ${++count}`;
    const container = await client.createContainer({ Image: IMAGE, Cmd: ['true'], Labels: { text } });
    const { Id } = await container.commit({ repo: 'kept-image', tag: String(count) });
    await container.remove();
    for (const tag of tags) {
      await client.getImage(Id).tag({ repo, tag });
      for await (const _ of await client.getImage(`${repo}:${tag}`).push({ authconfig: {} }));
    }
    await client.getImage(Id).remove({ force: true });
    return `${repo}:1`;
  }

  const onEngine = (name: string) => here.docker.findImage(name);
  const rows = (at = here) => at.database.db.select().from(engineImages);
  const row = async (imageId: string | undefined, at = here) =>
    (await rows(at)).find((image) => image.imageId === imageId);
  const sweep = (at = here, docker: Engine = here.docker) =>
    sweepPulledImages({ db: at.database.db, docker, imageRetentionDays: DAYS });
  /** Makes the last use of an image this old, and the next look due. */
  const age = (imageId: string, { at = here, days = DAYS + 1 } = {}) =>
    at.database.db
      .update(engineImages)
      .set({ lastUsedAt: sql`now() - make_interval(days => ${days})`, lookAt: sql`now()` })
      .where(eq(engineImages.imageId, imageId));
  async function terminate(id: string, at = here): Promise<void> {
    const { db } = at.database;
    const [workflow] = await db.select().from(workflows).where(eq(workflows.id, id));
    await terminateWorkflow(db, { id, userId: workflow?.userId ?? '' });
  }
  async function ran(image: string, payload: object = {}, at = here): Promise<{ id: string; imageId: string }> {
    const { id, buildId } = await at.create({ image, command: ['true'], network: 'NONE', ...payload });
    await at.job(id, 'COMPLETED');
    await until('its container is gone', async () => (await at.containers()).length === 0);
    return { id, imageId: (await buildIn(at.database.db, buildId, 'COMPLETED')).imageId ?? '' };
  }
  /** A workflow has run with the image, is terminated, and long ago. */
  async function unused(image: string): Promise<string> {
    const { id, imageId } = await ran(image);
    await terminate(id);
    await age(imageId);
    return imageId;
  }

  test('goes with its tag and digest when nothing has used it for long, and nothing sooner', async () => {
    const image = await publish();
    const { id, imageId } = await ran(image);
    expect((await row(imageId))?.names).toEqual([expect.stringMatching(/:1$/), expect.stringMatching(/@sha256:/)]);
    await age(imageId);
    expect(await sweep()).toBe(0); // its workflow lives
    await terminate(id);
    expect(await sweep()).toBe(0); // a sweep has looked a moment ago
    await age(imageId, { days: DAYS - 1 });
    expect(await sweep()).toBe(0);
    await age(imageId);
    expect(await sweepPulledImages({ ...here, db: here.database.db, imageRetentionDays: 0 })).toBe(0);
    expect(await onEngine(image)).toBe(imageId);
    expect(await sweep()).toBe(1);
    expect([await here.docker.lookAt(imageId), await row(imageId)]).toEqual([undefined, undefined]);
    expect(await ran(image)).toMatchObject({ imageId }); // it can be pulled again
  }, 60_000);

  test('with several tags goes as a whole, but not with a tag that a later pull has moved', async () => {
    const image = await publish(['1', '2', '3']);
    const [repo = ''] = image.split(/:1$/);
    for (const tag of ['2', '3']) await terminate((await ran(`${repo}:${tag}`)).id);
    const old = await unused(image);
    expect((await row(old))?.names).toHaveLength(4);
    await publish(['1'], repo);
    const { imageId } = await ran(image);
    expect(imageId).not.toBe(old);
    expect(await sweep()).toBe(1);
    expect(await here.docker.lookAt(old)).toBeUndefined();
    expect(await onEngine(image)).toBe(imageId);
  }, 60_000);

  test('is used by the start of a job', async () => {
    const { id, imageId } = await ran(await publish());
    await age(imageId);
    const [workflow] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    await runWorkflow(here.database.db, { id, userId: workflow?.userId ?? '' });
    await here.job(id, 'COMPLETED', 1);
    expect((await row(imageId))?.lastUsedAt.getTime()).toBeGreaterThan(Date.now() - 3_600_000);
    await terminate(id);
    expect(await sweep()).toBe(0);
  }, 60_000);

  test('stays while a job runs, a container of anybody exists, or a build waits for it', async () => {
    const image = await publish();
    const { id, buildId } = await here.create({ image, command: ['sleep', '300'], network: 'NONE' });
    const running = await here.job(id, 'RUNNING');
    const { imageId } = await buildIn(here.database.db, buildId, 'COMPLETED').then((build) => ({
      imageId: build.imageId ?? '',
    }));
    await age(imageId);
    expect(await sweep()).toBe(0);
    await terminate(id);
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([running.id]));
    await here.job(id, 'CANCELED');
    await until('its container is gone', async () => (await here.containers()).length === 0);

    const container = await client.createContainer({ Image: image, Cmd: ['true'] });
    await age(imageId);
    expect(await sweep()).toBe(0);
    await container.remove();

    const waiting = await here.create({ image: 'no-such-registry.invalid/app:1', network: 'NONE' });
    const payload = JSON.stringify({ kind: 'CONTAINER', image, pull_policy: 'NEVER' });
    const built = JSON.stringify({ kind: 'CONTAINER', build: { dockerfile: `FROM ${image}` } });
    for (const source of [payload, built]) {
      await here.database.db.execute(
        sql`UPDATE payloads SET payload = ${source}::jsonb WHERE workflow_id = ${waiting.id}`,
      );
      await here.database.db.execute(
        sql`UPDATE builds SET retry_at = now() + interval '1 hour' WHERE id = ${waiting.buildId}`,
      );
      await age(imageId);
      expect(await sweep()).toBe(0);
    }
    await terminate(waiting.id);
    await age(imageId);
    expect(await sweep()).toBe(1);
    expect(await here.docker.lookAt(imageId)).toBeUndefined();
  }, 90_000);

  test('stays if it was on the engine before, by whatever hand', async () => {
    const image = await publish();
    for await (const _ of await client.pull(image));
    const tagged = await publish();
    for await (const _ of await client.pull(tagged));
    const [repo = ''] = tagged.split(/:1$/);
    await client.getImage(tagged).tag({ repo: `kept-${process.pid}`, tag: '1' });
    await client.getImage(`${repo}:1`).remove();
    for (const name of [image, tagged]) {
      const imageId = await unused(name);
      expect(await row(imageId)).toBeUndefined();
      expect(await sweep()).toBe(0);
      expect(await onEngine(name)).toBe(imageId);
    }
  }, 60_000);

  test('stays with all its names once somebody gives it another, and a moved tag stays where it is', async () => {
    const added = await publish();
    const imageId = await unused(added);
    await client.getImage(imageId).tag({ repo: `kept-${process.pid}`, tag: 'mine' });
    expect(await sweep()).toBe(0);
    expect((await here.docker.lookAt(imageId))?.names).toHaveLength(3);
    await client.getImage(`kept-${process.pid}:mine`).remove();
    await age(imageId);
    expect(await sweep()).toBe(1);

    const moved = await publish();
    const old = await unused(moved);
    const [repo = ''] = moved.split(/:1$/);
    await client.getImage(IMAGE).tag({ repo, tag: '1' });
    expect(await sweep()).toBe(1);
    expect(await here.docker.lookAt(old)).toBeUndefined();
    expect(await onEngine(moved)).toBe(await onEngine(IMAGE));
    await client.getImage(moved).remove();
  }, 60_000);

  test('that somebody removes by hand and brings back is that person’s', async () => {
    const image = await publish();
    const imageId = await unused(image);
    await client.getImage(imageId).remove({ force: true });
    expect(await sweep()).toBe(0);
    for await (const _ of await client.pull(image));
    expect([await row(imageId), await sweep()]).toEqual([undefined, 0]);
    expect(await onEngine(image)).toBe(imageId);

    const renamed = await publish();
    const second = await unused(renamed);
    const [repo = ''] = renamed.split(/:1$/);
    await client.getImage(second).tag({ repo, tag: 'kept' });
    await client.getImage(renamed).remove();
    await sweep();
    await client.getImage(second).tag({ repo, tag: '1' });
    await client.getImage(`${repo}:kept`).remove();
    await age(second);
    expect(await sweep()).toBe(0); // the tag is not the one that the pull gave
    expect(await onEngine(renamed)).toBe(second);
  }, 60_000);

  test('that others are built from stays as long as they do', async () => {
    const image = await publish();
    const build = { dockerfile: `FROM ${image}\nRUN echo ${image}` };
    const { id } = await here.create({ build, command: ['true'], network: 'NONE' });
    await here.job(id, 'COMPLETED');
    const imageId = (await onEngine(image)) ?? '';
    expect(await row(imageId)).toBeDefined();
    await age(imageId);
    expect(await sweep()).toBe(0);
    await terminate(id);
    await until('the built image is gone', async () => {
      await sweepImages({ ...here, db: here.database.db });
      return (await onEngine(builtTag({ workflowId: id, generation: 1 }))) === undefined;
    });
    await age(imageId);
    expect(await sweep()).toBe(1);
    expect(await here.docker.lookAt(imageId)).toBeUndefined();
  }, 60_000);

  /** An engine that waits before it removes this image. `resume` lets it go on. */
  function pausing(imageId: string) {
    const steps = new EventEmitter();
    const reached = once(steps, 'reached');
    const docker: Engine = {
      ...here.docker,
      async removeImage(name) {
        const going = once(steps, 'go');
        if (name === imageId && steps.emit('reached')) await going;
        return here.docker.removeImage(name);
      },
    };
    return { docker, reached, resume: () => steps.emit('go') };
  }
  const blocked = () =>
    until('somebody waits for the sweep', async () => {
      const [waits] = await here.database.db.execute<{ count: number }>(sql`
        SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%noteImageUse%'`);
      return (waits?.count ?? 0) > 0;
    });

  test('that a build finds while a sweep removes it is pulled again, and with NEVER the build says so', async () => {
    for (const policy of ['ALWAYS', 'IF_MISSING', 'NEVER'] as const) {
      const image = await publish();
      const imageId = await unused(image);
      const engine = pausing(imageId);
      const sweeping = sweep(here, engine.docker);
      await engine.reached;
      const { id, buildId } = await here.create({ image, command: ['true'], network: 'NONE', pull_policy: policy });
      await blocked();
      engine.resume();
      expect(await sweeping).toBe(1);
      if (policy === 'NEVER') {
        expect((await buildIn(here.database.db, buildId, 'FAILED')).error).toContain('the pull policy NEVER');
        continue;
      }
      await here.job(id, 'COMPLETED');
      expect((await row(imageId))?.lastUsedAt.getTime()).toBeGreaterThan(Date.now() - 3_600_000);
      await terminate(id);
    }
  }, 90_000);

  test('that a build has found before the sweep looks stays', async () => {
    const image = await publish();
    const imageId = await unused(image);
    const { id } = await here.create({ image, command: ['true'], network: 'NONE', pull_policy: 'NEVER' });
    await until('the build has noted its use', async () => {
      const [noted] = await here.database.db
        .select({ isFresh: sql<boolean>`last_used_at > now() - interval '1 hour'` })
        .from(engineImages)
        .where(eq(engineImages.imageId, imageId));
      return noted?.isFresh;
    });
    expect(await sweep()).toBe(0);
    await here.job(id, 'COMPLETED');
    await terminate(id);
  }, 60_000);

  test('stays in the table if the engine does not answer in the middle, or the sweep is cut off', async () => {
    const imageId = await unused(await publish());
    const broken: Engine = { ...here.docker, removeImage: () => Promise.reject(new Error('cut off')) };
    await expect(sweep(here, broken)).rejects.toThrow('cut off');
    expect(await row(imageId)).toBeDefined();
    expect(await sweep()).toBe(1);
  }, 60_000);

  test('that two installations use is pulled again by the one for which the other has removed it', async () => {
    const image = await publish();
    const { id, imageId } = await ran(image);
    const theirs = await ran(image, {}, other);
    expect(theirs.imageId).toBe(imageId);
    expect(await row(imageId, other)).toBeUndefined(); // it was there before
    const never = await ran(image, { pull_policy: 'NEVER' }, other);
    await terminate(id);
    await age(imageId);
    expect(await sweep()).toBe(1);

    const again = async (workflowId: string, status: 'COMPLETED' | 'FAILED') => {
      const [workflow] = await other.database.db.select().from(workflows).where(eq(workflows.id, workflowId));
      await runWorkflow(other.database.db, { id: workflowId, userId: workflow?.userId ?? '' });
      return other.job(workflowId, status, 1);
    };
    expect((await again(never.id, 'FAILED')).failureMessage).toContain('the pull policy NEVER');
    expect(await again(theirs.id, 'COMPLETED')).toMatchObject({ attempt: 1 });
    expect(await row(imageId, other)).toBeDefined(); // now it is theirs
    await terminate(theirs.id, other);
    await terminate(never.id, other);
    await age(imageId, { at: other });
    expect(await sweep(other, other.docker)).toBe(1);
  }, 90_000);

  test('goes by the worker itself, after IMAGE_RETENTION_DAYS', async () => {
    const imageId = await unused(await publish());
    const worker = await here.start({ imageRetentionDays: DAYS });
    await until('the image is gone', async () => (await here.docker.lookAt(imageId)) === undefined);
    await worker.close();
  }, 60_000);
});
