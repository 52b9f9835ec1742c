import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import { buildIn, IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'builds and jobs of CONTAINER workflows');
describe.skipIf(host === undefined)('container jobs', () => {
  let here: Installation;
  beforeAll(async () => {
    here = await openInstallation(host);
    await here.start();
  });
  afterAll(() => here.close());

  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });

  test('the whole path: built, run with its arguments, environment and directory, its lines stored when it has COMPLETED', async () => {
    const { id, buildId } = await here.create({
      command: ['sh', '-c', 'echo "$0 $GREETING $(pwd)"; echo err >&2'],
      args: ['arg'],
      env: { GREETING: 'hello=there' },
      working_dir: '/tmp',
    });
    const build = await buildIn(here.database.db, buildId, 'COMPLETED');
    expect(build).toMatchObject({ imageId: await here.docker.findImage(IMAGE), attempt: 1, error: null });
    expect(await storedTexts(here.database.db, buildId)).toHaveLength(build.logLineCount);
    const job = await here.job(id, 'COMPLETED');
    expect(job).toMatchObject({ exitCode: 0, attempt: 1, logLineCount: 2, engineId: await here.docker.engineId() });
    expect((await storedTexts(here.database.db, job.id)).sort()).toEqual(['arg hello=there /tmp', 'err']);
    await until('its container is gone', async () => (await here.containers()).length === 0);
  });

  test('an exit code other than 0 FAILS with the code, and the lines before it are kept', async () => {
    const { id } = await here.create(shell('seq 1 5000; exit 9'));
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'EXIT_CODE', exitCode: 9, logLineCount: 5_000 });
    expect(await storedTexts(here.database.db, job.id)).toEqual(Array.from({ length: 5_000 }, (_, n) => `${n + 1}`));
  });

  test('a command that is not in the image FAILS as START_FAILED, with its name', async () => {
    const { id } = await here.create({ command: ['/no/such/command'] });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('/no/such/command'),
    });
  });

  test("an impossible working directory is START_FAILED with the engine's message, and leaves nothing behind", async () => {
    const { id } = await here.create({ ...shell('true'), working_dir: '/bin/sh' });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('is not a directory'),
    });
  });

  test('memory beyond the limit FAILS as OUT_OF_MEMORY, with the lines before it', async () => {
    const { id } = await here.create(shell('echo before; tail /dev/zero'));
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'OUT_OF_MEMORY', logLineCount: 1 });
  });

  test('a time-out stops it with SIGTERM and FAILS it as TIMEOUT, with its last lines', async () => {
    const { id } = await here.create({
      ...shell('trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done'),
      timeout_seconds: 1,
    });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'TIMEOUT', failureMessage: expect.stringContaining('1 s') });
    expect(await storedTexts(here.database.db, job.id)).toEqual(['up', 'bye']);
  });

  test('P5: a cancellation stops it, and leaves no container', async () => {
    const { id } = await here.create(shell('trap "exit 0" TERM; while :; do sleep 0.1; done'));
    const running = await here.job(id, 'RUNNING');
    await until('its container runs', async () => (await here.containers()).length > 0);
    const [canceled] = [await cancelJob(here.database.db, { userId: running.userId, id: running.id })];
    expect(canceled).toMatchObject({ outcome: 'STOPPING' });
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([running.id]));
    expect(await here.job(id, 'CANCELED')).toMatchObject({ failureReason: null });
    await until('its container is gone', async () => (await here.containers()).length === 0);
  });

  test('P5: a hint of a cancellation that is not in the database stops nothing', async () => {
    const { id } = await here.create(shell('sleep 2; echo whole'));
    const running = await here.job(id, 'RUNNING');
    await until('its container runs', async () => (await here.containers()).length > 0);
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([running.id]));
    expect(await here.job(id, 'COMPLETED')).toMatchObject({ attempt: 1, cancelRequestedAt: null });
    expect(await storedTexts(here.database.db, running.id)).toEqual(['whole']);
  });

  test('an image that no registry has FAILS the build with the reason, also in its log', async () => {
    const { buildId } = await here.create({ image: '127.0.0.1:1/no/such:1' });
    const build = await buildIn(here.database.db, buildId, 'FAILED');
    expect(build.error).toBe('The registry 127.0.0.1:1 could not be reached.');
    expect((await storedTexts(here.database.db, buildId)).join('\n')).toContain(build.error);
  });

  test('of several at once, each ends once, with its own lines', async () => {
    const made = await Promise.all(Array.from({ length: 6 }, (_, n) => here.create(shell(`echo ${n}`))));
    for (const [n, { id }] of made.entries()) {
      const job = await here.job(id, 'COMPLETED');
      expect(await storedTexts(here.database.db, job.id)).toEqual([String(n)]);
    }
  });
});

test('without an engine a build FAILS, and names the address that was tried', async () => {
  const here = await openInstallation('unix:///nowhere/docker.sock');
  await here.start();
  const { buildId } = await here.create({});
  const { error } = await buildIn(here.database.db, buildId, 'FAILED');
  expect(error).toContain('No Docker engine answers at unix:///nowhere/docker.sock');
  await here.close();
});
