import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { workflows } from '../../db/schema.ts';
import { terminateWorkflow } from '../../db/workflows/terminate.ts';
import { newId } from '../../domain/ids.ts';
import { sealPayload } from '../../domain/payload/secrets.ts';
import { builtLabels } from '../../workers/workflow/builds/built-image.ts';
import { sweepImages } from '../../workers/workflow/sweeps/images.ts';
import { hasRegistry, removeImage, startRegistry, type TestRegistry } from '../support/login-registry.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { testSealer } from '../support/workers.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const WHAT = 'logins to registries';
const host = requirePart('docker', WHAT);
const isReady = host !== undefined && hasRegistry(WHAT);
const LOGIN = { username: 'ann', password: 'open-sesame-4711' };

describe.skipIf(!isReady)('a registry that requires a login', () => {
  let here: Installation;
  let registry: TestRegistry;
  let image: string;
  beforeAll(async () => {
    registry = await startRegistry(host ?? '', LOGIN);
    image = await registry.push(IMAGE, 'private/app:1');
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(async () => {
    const { db } = here.database;
    for (const { id, userId } of await db.select().from(workflows)) await terminateWorkflow(db, { id, userId });
    await until('no image that was built is left', async () => {
      await sweepImages({ ...here, db });
      return (await here.docker.listImages(builtLabels(here.installation))).length === 0;
    });
    await here?.close();
    await removeImage(host ?? '', image);
    await registry?.close();
  });

  async function build(login?: { username: string; password: string }, dockerfile?: string) {
    const id = newId();
    const { value } = sealPayload(testSealer, {
      workflowId: id,
      given: {
        kind: 'CONTAINER',
        ...(dockerfile === undefined ? { image } : { build: { dockerfile } }),
        command: ['echo'],
        args: ['pulled'],
        ...(login && {
          registry_auth: { username: login.username, password: { secret: true, value: login.password } },
        }),
      },
    });
    if (value?.kind !== 'CONTAINER') throw new Error('It was refused.');
    return here.create({ ...value, id });
  }

  test('refuses a client without a login or with a wrong one, at once and finally', async () => {
    for (const login of [undefined, { ...LOGIN, password: 'wrong-password-1' }]) {
      const { buildId } = await build(login);
      const { error } = await buildIn(here.database.db, buildId, 'FAILED');
      expect(error).toMatch(/unauthorized|no basic auth|denied/i);
      const printed = (await storedTexts(here.database.db, buildId)).join('\n');
      expect(`${error}\n${printed}`).not.toContain('wrong-password-1');
    }
  });

  test('P8: gives the image to a client with the right login, and the job runs; the password is nowhere', async () => {
    const { id, buildId } = await build(LOGIN);
    const built = await buildIn(here.database.db, buildId, 'COMPLETED');
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['pulled']);
    const printed = (await storedTexts(here.database.db, buildId)).join('\n');
    expect(`${JSON.stringify(built)}${printed}`).not.toContain(LOGIN.password);
    expect(await here.parts.cache.get(`template:${id}:1`)).not.toContain(LOGIN.password);
  });

  const DENIED = /unauthorized|no basic auth|denied/i;

  test('P8: gives a Dockerfile its first image and its other images; its login goes nowhere else', async () => {
    await removeImage(host ?? '', image);
    const { id, buildId } = await build(
      LOGIN,
      `FROM ${image} AS base\nFROM ${IMAGE}\nCOPY --from=${image} /bin/busybox /b`,
    );
    const built = await buildIn(here.database.db, buildId, 'COMPLETED');
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['pulled']);
    const printed = (await storedTexts(here.database.db, buildId)).join('\n');
    expect(`${JSON.stringify(built)}${printed}`).not.toContain(LOGIN.password);

    await removeImage(host ?? '', image);
    // For a login, this is another registry.
    const byOtherName = image.replace('127.0.0.1', 'localhost');
    expect(byOtherName).not.toBe(image);
    const second = await build(LOGIN, `FROM ${byOtherName}\nCOPY --from=${image} /bin/busybox /b`);
    expect((await buildIn(here.database.db, second.buildId, 'FAILED')).error).toMatch(DENIED);
    expect((await storedTexts(here.database.db, second.buildId)).join('\n')).toContain(`the registry of ${image}`);
    await removeImage(host ?? '', byOtherName);
  });

  test('P6: the first image of a Dockerfile stays with the owner of the login, even if the build fails', async () => {
    const { buildId } = await build(LOGIN, `FROM ${image}\nRUN exit 3`);
    await buildIn(here.database.db, buildId, 'FAILED');
    expect(await here.docker.findImage(image)).toBeDefined();
    for (const dockerfile of [`FROM ${image}`, undefined]) {
      const other = await build(undefined, dockerfile);
      expect((await buildIn(here.database.db, other.buildId, 'FAILED')).error).toMatch(DENIED);
    }
  });

  test("P6: an image that a user's login has brought onto the engine is not available to others", async () => {
    expect(await here.docker.findImage(image)).toBeDefined();
    const { buildId } = await build();
    const { error } = await buildIn(here.database.db, buildId, 'FAILED');
    expect(error).toMatch(/unauthorized|no basic auth|denied/i);
    const other = await here.create({ command: ['true'] }); // the same image under its public name
    await here.job(other.id, 'COMPLETED');
  });
});
