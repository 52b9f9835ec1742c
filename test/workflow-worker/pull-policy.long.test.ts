import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { beginPrivatePull } from '../../db/builds/images.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { privatePulls, workflows } from '../../db/schema.ts';
import { rebuildWorkflow } from '../../db/workflows/rebuild.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { sealPayload } from '../../domain/payload/secrets.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { publishEffects } from '../../platform/publish.ts';
import { sweepPrivatePulls } from '../../workers/workflow/sweeps/private-pulls.ts';
import { testUser } from '../support/database.ts';
import {
  hasRegistry,
  removeImage,
  startRegistry as startLoginRegistry,
  type TestRegistry,
} from '../support/login-registry.ts';
import { requirePart } from '../support/parts.ts';
import { type Registry, registryProxy, startRegistry } from '../support/registry.ts';
import { imagePatterns, quiet, testSealer } from '../support/workers.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts, waitingBuild } from './support.ts';

const WHAT = 'whose images on the engine are';
const host = requirePart('docker', WHAT);
const isReady = host !== undefined && hasRegistry(WHAT);
const LOGIN = { username: 'ann', password: 'open-sesame-4711' };
const NOISE = 'chronoverse.invalid/noise:1';
const DENIED = /\((UNAUTHORIZED|DENIED)\)/;

describe.skipIf(!isReady)('an image that lies on the engine', () => {
  const engine = createEngine({ host });
  let strict: Installation; // without LOCAL_IMAGES
  let open: Installation; // LOCAL_IMAGES allows all images
  let bob: string;
  let registry: Registry;
  let privately: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    privately = await startLoginRegistry(host ?? '', LOGIN);
    strict = await openInstallation(host);
    await strict.start({ localImages: imagePatterns(`127.0.0.1:${registry.port}/given/*`) });
    open = await openInstallation(host);
    await open.start();
    bob = await testUser(open.database.db, 'bob');
  });
  afterAll(async () => {
    await strict.close();
    await open.close();
    await registry.close();
    await privately.close();
  });

  const local = (name: string) => `127.0.0.1:${registry.port}/${name}`;
  async function tag(name: string): Promise<string> {
    const [repo = '', version = ''] = name.split(/:(?=[^:]*$)/);
    await engine.call({ method: 'POST', path: `/images/${IMAGE}/tag`, query: { repo, tag: version } });
    return name;
  }
  async function push(name: string): Promise<void> {
    const [repo = '', version = ''] = name.split(/:(?=[^:]*$)/);
    const registryAuth = { username: '', password: '', serveraddress: '' };
    const answer = await engine.open({
      method: 'POST',
      path: `/images/${repo}/push`,
      query: { tag: version },
      registryAuth,
    });
    for await (const _ of answer);
  }
  const outcome = async (at: Installation, payload: Parameters<Installation['create']>[0], userId?: string) => {
    const { buildId } = await at.create({ command: ['true'], ...payload }, 3, userId);
    return buildIn(at.database.db, buildId, 'FAILED');
  };
  async function withLogin(image: string) {
    const id = newId();
    const given = {
      kind: 'CONTAINER' as const,
      image,
      command: ['true'],
      registry_auth: { username: LOGIN.username, password: { secret: true as const, value: LOGIN.password } },
    };
    const { value } = sealPayload(testSealer, { workflowId: id, given });
    if (value?.kind !== 'CONTAINER') throw new Error('It was refused.');
    return { ...value, id };
  }
  async function runAgain(at: Installation, id: string): Promise<void> {
    const [row] = await at.database.db.select().from(workflows).where(sql`id = ${id}`);
    await runWorkflow(at.database.db, { id, userId: row?.userId ?? '' });
    await at.parts.cache.publish(SCHEDULE_CHANNEL, '');
  }

  test('is not used just because it is there: its registry is asked, for a Dockerfile too', async () => {
    const image = await tag(local('found/app:1'));
    expect((await outcome(strict, { image })).error).toMatch(/MANIFEST_UNKNOWN|NAME_UNKNOWN/);
    expect((await outcome(strict, { build: { dockerfile: `FROM ${image}` } })).error).toMatch(
      /MANIFEST_UNKNOWN|NAME_UNKNOWN/,
    );
    await removeImage(host ?? '', image);
  });

  test('is used if the operator names it, whatever its registry says', async () => {
    const image = await tag(local('given/app:1'));
    const { id } = await strict.create({ image, command: ['true'] });
    await strict.job(id, 'COMPLETED');
    await removeImage(host ?? '', image);
  });

  test('is used if its registry gives it to everyone; with IF_MISSING or NEVER, only for users to whom it was given', async () => {
    const second = await startRegistry();
    const image = await tag(`127.0.0.1:${second.port}/public/app:1`);
    await push(image);
    const { id } = await strict.create({ image, command: ['true'] });
    await strict.job(id, 'COMPLETED');
    await second.close();
    const other = await testUser(strict.database.db, 'other');
    const { db } = strict.database;
    const foreign = await strict.create({ image, pull_policy: 'IF_MISSING' }, 3, other);
    const always = await strict.create({ image });
    for (const pull_policy of ['IF_MISSING', 'NEVER'] as const) {
      const again = await strict.create({ image, pull_policy, command: ['true'], args: ['again'] });
      await strict.job(again.id, 'COMPLETED');
      expect((await storedTexts(db, again.buildId)).join('\n')).toContain(
        `used as it is: the pull policy is ${pull_policy}.`,
      );
    }
    expect((await outcome(strict, { image, pull_policy: 'NEVER' }, other)).error).toContain(
      `The Docker engine has no image ${image} that you may use, and the pull policy NEVER`,
    );
    expect((await waitingBuild(db, foreign.buildId)).waitsFor).toMatch(/could not be reached\.$/);
    // What the engine has may be out of date, so a build with ALWAYS waits, and says what else can
    // be done.
    expect((await waitingBuild(db, always.buildId)).waitsFor).toMatch(
      /could not be reached\. With the pull policy IF_MISSING/,
    );
    await removeImage(host ?? '', image);
  });

  test('is not used if its tag has moved in the registry, whatever LOCAL_IMAGES says, unless the payload says so', async () => {
    const image = await tag(local('moving/app:1'));
    await push(image);
    const { id, buildId } = await open.create({ image, command: ['true'] });
    await open.job(id, 'COMPLETED');
    const old = await buildIn(open.database.db, buildId, 'COMPLETED');
    const newer = await noise();
    const [repo = '', version = ''] = image.split(/:(?=[^:]*$)/);
    await engine.call({ method: 'POST', path: `/images/${NOISE}/tag`, query: { repo, tag: version } });
    await push(image); // the registry has the new one, and the engine the old one
    await engine.call({ method: 'POST', path: `/images/${IMAGE}/tag`, query: { repo, tag: version } });

    const { db } = open.database;
    const kept = await open.create({ image, pull_policy: 'IF_MISSING' });
    expect(await buildIn(db, kept.buildId, 'COMPLETED')).toMatchObject({ imageId: old.imageId });
    const never = await open.create({ image, pull_policy: 'NEVER' });
    expect(await buildIn(db, never.buildId, 'COMPLETED')).toMatchObject({ imageId: old.imageId });
    const [row] = await db.select().from(workflows).where(sql`id = ${id}`);
    const rebuilt = await rebuildWorkflow(db, { id, userId: row?.userId ?? '' });
    if (!('effects' in rebuilt)) throw new Error(rebuilt.outcome);
    await publishEffects({ ...open.parts, log: quiet }, rebuilt.effects);
    const built = await buildIn(db, rebuilt.build.id, 'COMPLETED');
    expect(built.imageId).toBe(newer);
    expect(built.imageDigest).not.toBe(old.imageDigest);
    const fresh = await open.create({ image });
    expect(await buildIn(db, fresh.buildId, 'COMPLETED')).toMatchObject({ imageId: newer });
    await removeImage(host ?? '', image);
    await removeImage(host ?? '', NOISE);
  });

  test('and was made there is used as it is: for a name without a registry nobody is asked', async () => {
    const { buildId } = await open.create({ image: IMAGE });
    await buildIn(open.database.db, buildId, 'COMPLETED');
    const lines = (await storedTexts(open.database.db, buildId)).join('\n');
    expect(lines).toContain(`${IMAGE} is on the Docker engine, and is used as it is: no registry has given it.`);
    expect(lines).not.toContain('Asking the registry');
    const image = await tag(local('never/pushed:1'));
    const asked = await open.create({ image });
    await buildIn(open.database.db, asked.buildId, 'COMPLETED');
    expect((await storedTexts(open.database.db, asked.buildId)).join('\n')).toMatch(
      /Asking the registry.*\n.*used as it is: The registry .* has no image .*\((MANIFEST|NAME)_UNKNOWN\)\./,
    );
    await removeImage(host ?? '', image);
  });

  test('is used for users to whom it was given, even if the name of its registry does not resolve', async () => {
    const image = await tag(`${'a'.repeat(64)}.example/app:1`); // no resolver accepts this name
    await strict.database.db.execute(sql`
      INSERT INTO pulled_images (user_id, image_id, image)
      SELECT min(id::text)::uuid, ${await strict.docker.findImage(IMAGE)}, ${image.replace(':1', '')} FROM users`);
    const { id } = await strict.create({ image, pull_policy: 'IF_MISSING', command: ['true'] });
    await strict.job(id, 'COMPLETED');
    expect((await outcome(strict, { image }, await testUser(strict.database.db, 'carl'))).error).toMatch(
      /REGISTRY_ALLOW/,
    );
    await removeImage(host ?? '', image);
  });

  test('and was found by a build before these rules is checked by them at the next job', async () => {
    const { db } = strict.database;
    const image = await tag(local('public/old:1'));
    await push(image);
    const { id } = await strict.create({ image, command: ['true'] });
    await strict.job(id, 'COMPLETED');
    await db.execute(sql`DELETE FROM pulled_images`);
    await db.execute(sql`
      INSERT INTO pulled_images SELECT user_id, n::text, 'a/b', now() - interval '1 day'
      FROM workflows, generate_series(1, 1000) n WHERE id = ${id}`);
    await runAgain(strict, id);
    await strict.job(id, 'COMPLETED', 1);
    const noted = await db.execute<{ image: string }>(sql`SELECT image FROM pulled_images ORDER BY pulled_at DESC`);
    expect(noted).toHaveLength(1_000); // the oldest row is removed
    expect(noted[0]).toEqual({ image: local('public/old') });

    await db.execute(sql`DELETE FROM pulled_images`);
    await db.execute(sql`UPDATE builds SET image_digest = NULL WHERE workflow_id = ${id}`);
    await db.execute(
      sql`UPDATE payloads SET payload = jsonb_set(payload, '{image}', to_jsonb(${local('none/app:1')}::text)) WHERE workflow_id = ${id}`,
    );
    await strict.parts.cache.delete(`template:${id}:1`);
    await runAgain(strict, id);
    expect(await strict.job(id, 'FAILED', 2)).toMatchObject({ failureReason: 'SYSTEM' });
    await removeImage(host ?? '', image);
  });

  test("P6: and came with a user's login is only that user's: by its tag, its digest, and in a Dockerfile", async () => {
    const image = await privately.push(IMAGE, 'private/app:1');
    const made = await open.create(await withLogin(image));
    await open.job(made.id, 'COMPLETED');
    const { imageDigest } = await buildIn(open.database.db, made.buildId, 'COMPLETED');
    for (const name of [image, imageDigest ?? '']) {
      expect((await outcome(open, { image: name }, bob)).error).toMatch(DENIED);
      expect((await outcome(open, { build: { dockerfile: `FROM ${name}` } }, bob)).error).toMatch(DENIED);
    }
    await removeImage(host ?? '', image);
  });

  test('P6: is noted as private before its pull, so that a crash in between exposes nothing', async () => {
    const { db } = open.database;
    const noisy = await noise();
    const image = (await privately.push(noisy, 'private/large:1')).replace(/^[^/]*/, '');
    // Removed, so that the engine must pull its layer.
    await engine.call({ method: 'DELETE', path: `/images/${noisy}`, query: { force: true } });
    const proxy = await registryProxy(Number(privately.host.split(':')[1]));
    const name = `127.0.0.1:${proxy.port}${image}`;
    const holding = proxy.hold();
    const dying = await openInstallation(host);
    const worker = await dying.start();
    await dying.create(await withLogin(name));
    await holding;
    expect(await dying.database.db.select().from(privatePulls)).toMatchObject([{ image: name }]);
    await worker.close(); // during the pull: it is unknown whether the engine has the image now
    expect(await dying.database.db.select().from(privatePulls)).toHaveLength(1);

    await tag(name); // as if the pull had succeeded
    await dying.start();
    expect((await outcome(dying, { image: name }, await testUser(dying.database.db, 'bob'))).error).toMatch(DENIED);
    await dying.close();
    await removeImage(host ?? '', name);
    await proxy.close();
    expect(await db.select().from(privatePulls)).toEqual([]);
  });

  test('P6: is private only under its own name while it is pulled, and a cancelled pull is forgotten after its end', async () => {
    const { db } = open.database;
    const engineId = await open.docker.engineId();
    const [given, other] = [await tag('127.0.0.1:1/team/app:1'), '127.0.0.1:1/team/app:2'];
    const note = { repository: '127.0.0.1:1/team/app', engineId };
    const { id } = await open.create({ image: given });
    await open.job(id, 'COMPLETED');
    const [puller] = await db.execute<{ id: string }>(sql`SELECT id FROM builds WHERE workflow_id = ${id}`);
    await beginPrivatePull(db, { puller: puller?.id ?? '', image: other, ...note }, undefined);
    await beginPrivatePull(
      db,
      { puller: newId(), image: given, ...note, engineId: 'another' },
      (await open.docker.findNamedImage(given))?.id,
    );
    const { buildId } = await open.create({ image: given, command: ['true'] }, 3, bob);
    await buildIn(db, buildId, 'COMPLETED');

    await sweepPrivatePulls({ db, docker: open.docker });
    // The engine may continue the pull for a while.
    expect(await db.select().from(privatePulls)).toHaveLength(2);
    await db.execute(sql`UPDATE private_pulls SET started_at = now() - interval '1 hour'`);
    await sweepPrivatePulls({ db, docker: open.docker });
    expect(await db.select().from(privatePulls)).toHaveLength(2);
    await tag(other); // the pull succeeded after all
    await db.execute(sql`UPDATE builds SET completed_at = now() - interval '1 hour' WHERE id = ${puller?.id}`);
    await sweepPrivatePulls({ db, docker: open.docker });
    expect(await db.select().from(privatePulls)).toMatchObject([{ engineId: 'another' }]);
    const never = { image: other, pull_policy: 'NEVER' } as const;
    expect((await outcome(open, never, bob)).error).toContain('no image 127.0.0.1:1/team/app:2 that you may use');
    await waitingBuild(db, (await open.create({ image: other }, 3, bob)).buildId);
    await db.execute(sql`DELETE FROM private_pulls`);
    await db.execute(sql`DELETE FROM private_images`);
    for (const name of [given, other]) await removeImage(host ?? '', name);
  });

  /** An image with a layer that is large enough for `hold`. */
  async function noise(): Promise<string> {
    const spec = {
      tag: NOISE,
      dockerfile: `FROM ${IMAGE}\nRUN head -c 3000000 /dev/urandom > /noise`,
      files: [],
      labels: {},
      network: 'none',
      cpus: 1,
      memoryBytes: 256 * 1024 * 1024,
    };
    return open.docker.buildImage(spec, { onLine: () => undefined, signal: new AbortController().signal });
  }
});
