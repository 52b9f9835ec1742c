import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { jobs, workflows } from '../../db/schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { createDocker } from '../../platform/docker/docker.ts';
import { createLoggerTo } from '../../platform/log.ts';
import { requirePart } from '../support/parts.ts';
import { type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { letPass, until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { removeVolumes } from './engine-state.ts';
import { type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'containers that the engine refuses');
describe.skipIf(host === undefined)('a container that the engine refuses', () => {
  let here: Installation;
  let engine: RefusingEngine;
  const logged: string[] = [];
  beforeAll(async () => {
    here = await openInstallation(host);
    engine = await refusingEngine(host ?? '');
    const log = createLoggerTo({ write: (line) => void logged.push(line) }, 'info');
    await here.start({ docker: createDocker({ host: engine.host, log: quiet }), log });
  });
  afterEach(() => {
    engine.refuse = undefined;
  });
  afterAll(async () => {
    await here.close();
    await engine.close();
    await removeVolumes(host, here.installation);
  });

  const onCreate = (message: string) => (method: string, path: string) =>
    method === 'POST' && path.startsWith('/containers/create') ? { status: 500, message } : undefined;
  const onStart = (message: string) => (method: string, path: string) =>
    method === 'POST' && path.includes('/start') ? { status: 500, message } : undefined;

  const workflow = async (id: string) => {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, id));
    return row;
  };

  /** Waits until this attempt was refused and the job was returned; then its back-off passes. */
  const nextAttempt = async (id: string, attempt: number) => {
    const job = await until(`attempt ${attempt} was refused`, async () => {
      const [row] = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, id));
      return row?.status === 'PENDING' && row.attempt === attempt ? row : undefined;
    });
    expect(job).toMatchObject({ failureReason: null, leaseToken: null, startedAt: null });
    await letPass(here.database.db, id, 60);
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
  };

  test("costs one attempt each time, and FAILS as SYSTEM after the last, which counts against no workflow; the engine's words are in the operator's log", async () => {
    engine.refuse = onCreate('mkdir /srv/engine/overlay2/0123: strange');
    const { id } = await here.create({ command: ['true'] }, 1);
    await nextAttempt(id, 1);
    await nextAttempt(id, 2);
    expect(await here.job(id, 'FAILED')).toMatchObject({
      attempt: 3,
      failureReason: 'SYSTEM',
      failureMessage:
        'The Docker engine refused its container in each attempt. The Docker engine failed with an error of its own. The operator finds it in the log of the worker.',
    });
    expect(await workflow(id)).toMatchObject({ consecutiveJobFailuresCount: 0, terminatedAt: null });
    expect(logged.join('')).toContain('mkdir /srv/engine/overlay2/0123: strange');
  });

  test('P5: also at its start: no container is left, and the next attempt is complete', async () => {
    engine.refuse = onStart('failed to create endpoint on network bridge: no buffer space');
    const { id } = await here.create({ command: ['echo', 'once'] });
    await until('it was refused', async () => engine.refused > 0);
    await until('its attempt is over', async () => {
      const [row] = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, id));
      return row?.status === 'PENDING';
    });
    expect(await here.containers()).toEqual([]);
    engine.refuse = undefined;
    await nextAttempt(id, 1);
    const job = await here.job(id, 'COMPLETED');
    expect(job).toMatchObject({ attempt: 2, logLineCount: 1 });
    expect(await storedTexts(here.database.db, job.id)).toEqual(['once']);
  });

  test('because of its payload FAILS at once as START_FAILED, and counts', async () => {
    const { id } = await here.create({ command: ['true'], volumes: [{ name: 'v', path: '/etc/passwd' }] });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      attempt: 1,
      failureReason: 'START_FAILED',
      failureMessage:
        'A volume cannot be mounted at /etc/passwd: the image has a file there, and a folder was expected.',
    });
    expect(await workflow(id)).toMatchObject({ consecutiveJobFailuresCount: 1 });
  });

  test('because of a volume below a file does the same, without the folders of the host', async () => {
    const { id } = await here.create({ command: ['true'], volumes: [{ name: 'w', path: '/etc/passwd/below' }] });
    const job = await here.job(id, 'FAILED');
    expect(job).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('/etc/passwd/below'),
    });
    expect(job.failureMessage).not.toMatch(/overlay|merged|_data/);
  });

  test('because of a non-empty volume over a file', async () => {
    const kept = { name: 'kept', path: '/data' };
    const writer = await here.create({ command: ['touch', '/data/file'], volumes: [kept] });
    await here.job(writer.id, 'COMPLETED');
    const { id } = await here.create({ command: ['true'], volumes: [{ ...kept, path: '/etc/passwd' }] });
    expect(await here.job(id, 'FAILED')).toMatchObject({
      failureReason: 'START_FAILED',
      failureMessage: expect.stringContaining('A volume cannot be mounted at /etc/passwd'),
    });
  });
});
