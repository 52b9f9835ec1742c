import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import { untilKillSeen } from '../docker/support.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { until } from '../support/time.ts';
import {
  buildIn,
  IMAGE,
  type Installation,
  openInstallation,
  storedLines,
  storedTexts,
  waitingBuild,
} from './support.ts';

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
    const said = await storedTexts(here.database.db, buildId);
    expect(said).toHaveLength(build.logLineCount);
    expect(said.join()).not.toContain('docker.sock');
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

  test('a retry has a log that says why, and the whole time-out in each attempt', async () => {
    const { id } = await here.create({
      ...shell('echo try; sleep 1; exit 3'),
      timeout_seconds: 2,
      runPolicy: { retry: { maxRetries: 2, delaySeconds: 0, on: ['EXIT_CODE'] } },
    });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'EXIT_CODE', attempt: 3, retries: 2, logLineCount: 5 });
    const [failure] = (job.failureMessage ?? '').split(' It was retried 2 times.');
    expect(job.failureMessage).toBe(`${failure} It was retried 2 times.`);
    expect(await storedTexts(here.database.db, job.id)).toEqual([
      'try',
      `Attempt 2 begins, because one before it failed: ${failure}`,
      'try',
      `Attempt 3 begins, because one before it failed: ${failure}`,
      'try',
    ]);
  });

  test('a command that is not in the image FAILS as START_FAILED, with its name', async () => {
    const { id } = await here.create({ command: ['/no/such/command'] });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('/no/such/command'),
    });
  });

  const script = (content: string) => ({
    build: {
      dockerfile: `FROM ${IMAGE}\nCOPY x /x\nRUN chmod 755 /x`,
      files: [{ path: 'x', content }],
    },
  });
  test.each([
    ['a working directory of the kernel', { ...shell('pwd'), working_dir: '/sys/nope' }, '"/sys/nope" cannot be made'],
    ['a user of the name of a limit', { ...shell('id'), user: 'rlimit' }, 'The image has no user "rlimit".'],
    ['a working directory of such a name', { ...shell('id'), working_dir: '/etc/passwd/cgroup' }, '/etc/passwd/cgroup'],
    ['no command at all', { command: [''] }, 'There is no command'],
    ['a script with Windows line ends', { ...script('#!/bin/sh\r\nid\r\n'), command: ['/x'] }, '(CRLF)'],
    ['a folder as command', { command: ['/etc'] }, 'it is a folder, or its user may not execute it'],
    ['a command outside of PATH', { command: ['sh'], env: { PATH: '/no' } }, 'none of the folders that PATH names'],
  ])('%s is START_FAILED in the first attempt, and says why', async (_, payload, why) => {
    const { id } = await here.create(payload);
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({
      failureReason: 'START_FAILED',
      attempt: 1,
      failureMessage: expect.stringContaining(why),
    });
    expect(job.failureMessage).not.toMatch(/OCI|runc|shim/);
  });

  test("an impossible working directory is START_FAILED with the engine's message, and leaves nothing behind", async () => {
    const { id } = await here.create({ ...shell('true'), working_dir: '/bin/sh' });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('is not a directory'),
    });
  });

  const ended = async (script: string, status: 'COMPLETED' | 'FAILED' = 'FAILED') => {
    const { id } = await here.create(shell(script));
    const job = await here.job(id, status);
    return { job, lines: await storedLines(here.database.db, job.id) };
  };
  const isOutOfMemory = ({ job }: Awaited<ReturnType<typeof ended>>) => job.failureReason === 'OUT_OF_MEMORY';

  test('memory beyond the limit FAILS as OUT_OF_MEMORY, with the lines before it', async () => {
    const runs = await untilKillSeen(() => ended('echo before; tail /dev/zero'), isOutOfMemory);
    for (const { job, lines } of runs) {
      expect(job).toMatchObject({ status: 'FAILED', exitCode: 137, logLineCount: 1 });
      expect(lines).toMatchObject([{ text: 'before' }]);
    }
    for (const { job } of runs.slice(0, -1)) expect(job.failureMessage).toMatch(/the engine did not say so/);
    expect(runs.at(-1)?.job).toMatchObject({ failureReason: 'OUT_OF_MEMORY' });
  });

  test('only a main process that the kernel killed is OUT_OF_MEMORY: for a killed child, message and log have a hint', async () => {
    const hasHint = ({ lines }: Awaited<ReturnType<typeof ended>>) => lines.at(-1)?.source === 'SYSTEM';
    const [failing, succeeding, passing] = await Promise.all([
      untilKillSeen(() => ended('tail /dev/zero & wait $!; echo survived; exit 3'), hasHint),
      untilKillSeen(() => ended('tail /dev/zero & wait $!; exit 0', 'COMPLETED'), hasHint),
      untilKillSeen(() => ended('tail /dev/zero; exit $?'), isOutOfMemory),
    ]);
    for (const { job, lines } of failing) {
      expect(job).toMatchObject({ failureReason: 'EXIT_CODE', exitCode: 3 });
      expect(lines).toContainEqual(expect.objectContaining({ text: 'survived', source: 'PROGRAM' }));
    }
    const failed = failing.at(-1);
    expect(failed?.job.failureMessage).toMatch(
      /^It exited with the code 3\. One of its processes was killed by the kernel/,
    );
    expect(failed?.lines.at(-1)).toMatchObject({ text: expect.stringContaining('was killed'), source: 'SYSTEM' });
    expect(succeeding.at(-1)?.lines.at(-1)?.text).toContain('One of its processes was killed');
    expect(passing.at(-1)?.job).toMatchObject({ failureReason: 'OUT_OF_MEMORY', exitCode: 137 });
  });

  test('an end by SIGKILL of which the engine says nothing is an EXIT_CODE that names memory as what it often is', async () => {
    const { id } = await here.create(shell('exit 137'));
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'EXIT_CODE', exitCode: 137 });
    expect(job.failureMessage).toMatch(/an end by SIGKILL\. Often that is the kernel/);
  });

  test('a time-out beyond what a timer of Node can wait for stops nothing early', async () => {
    const { id } = await here.create({ ...shell('sleep 1; echo whole'), timeout_seconds: 2_592_000 });
    const job = await here.job(id, 'COMPLETED');
    expect(await storedTexts(here.database.db, job.id)).toEqual(['whole']);
  });

  test('a time-out stops it with SIGTERM and FAILS it as TIMEOUT, with its last lines', async () => {
    const { id } = await here.create({
      ...shell('trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done'),
      timeout_seconds: 2, // the trap must be there by then
    });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({ failureReason: 'TIMEOUT', failureMessage: expect.stringContaining('2 s') });
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
    const { id } = await here.create(shell(`${UNTIL_LET_GO}; echo whole`));
    const running = await here.job(id, 'RUNNING');
    await until('its container runs', async () => (await here.containers()).length > 0);
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([running.id]));
    await here.letGo(running.id);
    expect(await here.job(id, 'COMPLETED')).toMatchObject({ attempt: 1, cancelRequestedAt: null });
    expect(await storedTexts(here.database.db, running.id)).toEqual(['whole']);
  });

  test('an image that a registry does not give FAILS the build with the reason, also in its log', async () => {
    const service = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(service, 'listening');
    const { port } = service.address() as AddressInfo;
    const { buildId } = await here.create({ image: `127.0.0.1:${port}/no/such:1` });
    const build = await buildIn(here.database.db, buildId, 'FAILED');
    expect(build.error).toBe(
      `What answers as the registry 127.0.0.1:${port} gives no image that the Docker engine can use.`,
    );
    expect((await storedTexts(here.database.db, buildId)).at(-1)).toBe(build.error);
    service.close();
  });

  test('of several at once, each ends once, with its own lines', async () => {
    const made = await Promise.all(Array.from({ length: 6 }, (_, n) => here.create(shell(`echo ${n}`))));
    for (const [n, { id }] of made.entries()) {
      const job = await here.job(id, 'COMPLETED');
      expect(await storedTexts(here.database.db, job.id)).toEqual([String(n)]);
    }
  });
});

test('without an engine a build waits, and says so without the address, which is a folder of the host', async () => {
  const here = await openInstallation('unix:///nowhere/docker.sock');
  await here.start();
  const { buildId } = await here.create({});
  const { waitsFor, awaitsEngine } = await waitingBuild(here.database.db, buildId);
  expect(waitsFor).toBe('No Docker engine answers.');
  expect(awaitsEngine).toBe(true);
  expect((await storedTexts(here.database.db, buildId)).at(-1)).toContain(`${waitsFor} Trying again in `);
  await here.close();
});
