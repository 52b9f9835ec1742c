import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Db } from '../../db/client.ts';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { runWorkflow } from '../../db/jobs/request.ts';
import { volumes } from '../../db/schema.ts';
import { CANCEL_CHANNEL, encodeIds, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { newId } from '../../domain/ids.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { volumeName } from '../../workers/workflow/engine/volumes.ts';
import { containerName, toSpec } from '../../workers/workflow/jobs/container.ts';
import { createVolumeRemoval } from '../../workers/workflow/sweeps/volumes.ts';
import { testUser } from '../support/database.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { letPass, until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { IMAGE, type Installation, openInstallation, storedTexts } from './support.ts';

const host = requirePart('docker', 'jobs on an engine that misbehaves');
describe.skipIf(host === undefined)('on a misbehaving engine', () => {
  let here: Installation;
  let engine: RefusingEngine;
  let unruly: Docker;
  let asked: string[];
  beforeAll(async () => {
    here = await openInstallation(host);
    engine = await refusingEngine(host ?? '');
    unruly = createDocker({ host: engine.host, log: quiet });
  });
  beforeEach(() => {
    asked = [];
    engine.refuse = (method, path) => {
      asked.push(`${method} ${path}`);
      return undefined;
    };
    engine.rewrite = undefined;
  });
  afterEach(() => {
    vi.restoreAllMocks();
    engine.refuse = undefined;
    engine.rewrite = undefined;
  });
  afterAll(async () => {
    await here.close();
    await engine.close();
  });

  const shell = (script: string) => ({ command: ['sh', '-c'], args: [script] });
  const abandon = (jobId: string) =>
    here.database.db.execute(sql`UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = ${jobId}`);
  const untilRuns = (name: string) =>
    until('its container runs', async () => {
      const state = await here.docker.inspectContainer(name);
      return state?.status === 'running' ? state : undefined;
    });

  /** A container of this installation without a known job. */
  const leftover = (attempt = 1, id = newId()) =>
    here.docker.createContainer(
      toSpec(
        { id, attempt, workflowId: newId(), userId: newId() },
        { imageId: IMAGE, command: ['sleep', '600'] },
        here.installation,
      ),
    );

  /** A job whose container runs without a worker. */
  async function orphan(script: string): Promise<{ id: string; jobId: string; name: string }> {
    const first = await here.start();
    const { id } = await here.create(shell(script));
    const { id: jobId } = await here.job(id, 'RUNNING');
    const name = containerName({ id: jobId, attempt: 1 });
    await untilRuns(name);
    await first.close();
    await abandon(jobId);
    return { id, jobId, name };
  }

  test.each([
    ['refuses to remove', { status: 500, message: 'driver failed to remove root filesystem: device or resource busy' }],
    ['never answers about', 'HANG' as const],
    ['refuses to remove for a conflict', { status: 409, message: 'cannot remove: the container is in use' }],
  ])('a container that it %s holds up neither adoption nor the removal of others', async (_, refusal) => {
    const { id, jobId } = await orphan(`echo up; ${UNTIL_LET_GO}; echo done; exit 3`);
    const [stuck, other] = [await leftover(), await leftover()];
    engine.refuse = (method, path) => (method === 'DELETE' && path.includes(stuck) ? refusal : undefined);
    const worker = await here.start({ docker: unruly });
    await here.letGo(jobId);
    expect(await here.job(id, 'FAILED')).toMatchObject({ id: jobId, attempt: 1, exitCode: 3, logLineCount: 2 });
    await until('the other one is removed', async () => (await here.docker.inspectContainer(other)) === undefined);
    expect(engine.refused).toBeGreaterThan(0);
    expect(await here.docker.inspectContainer(stuck)).toBeDefined();
    engine.refuse = undefined;
    if (refusal === 'HANG') await here.docker.removeContainer(stuck, { force: true });
    await until('it is gone', async () => (await here.docker.inspectContainer(stuck)) === undefined);
    await worker.close();
  });

  test('a container that cannot be inspected does not block the adoption of others, and is adopted when it can be', async () => {
    const first = await here.start();
    const [a, b] = await Promise.all(['a', 'b'].map((n) => here.create(shell(`echo ${n}; ${UNTIL_LET_GO}; exit 3`))));
    if (a === undefined || b === undefined) throw new Error('none');
    const jobIds = await Promise.all([a, b].map(async ({ id }) => (await here.job(id, 'RUNNING')).id));
    const [stuck, name] = jobIds.map((id) => containerName({ id, attempt: 1 }));
    const { id: stuckId } = await untilRuns(stuck ?? '');
    await untilRuns(name ?? '');
    await first.close();
    engine.refuse = (method, path) =>
      method === 'GET' && path.startsWith(`/containers/${stuckId}/json`) ? { status: 500, message: 'busy' } : undefined;
    const worker = await here.start({ docker: unruly });
    for (const id of jobIds) await here.letGo(id);
    expect(await here.job(b.id, 'FAILED')).toMatchObject({ attempt: 1, exitCode: 3 });
    expect(await here.job(a.id, 'RUNNING')).toMatchObject({ attempt: 1 });
    engine.refuse = undefined;
    expect(await here.job(a.id, 'FAILED')).toMatchObject({ attempt: 1, exitCode: 3, logLineCount: 1 });
    await worker.close();
  });

  test('no job end waits for the removal of a container', async () => {
    engine.refuse = (method) => (method === 'DELETE' ? 'HANG' : undefined);
    const worker = await here.start({ docker: unruly, capacity: 1 });
    for (const script of ['exit 0', 'exit 0', 'exit 0']) {
      const { id } = await here.create(shell(script));
      await here.job(id, 'COMPLETED');
    }
    engine.refuse = undefined;
    await worker.close();
    for (const container of await here.containers()) await here.docker.removeContainer(container, { force: true });
  });

  test('an attempt does not get stuck if the container that it lost cannot be removed', async () => {
    const { id, jobId, name } = await orphan('sleep 600');
    // Killed while no worker watched, as by a restart of the engine.
    await here.docker.stopContainer(name, 0);
    const { id: container } = (await here.docker.inspectContainer(name)) ?? { id: '' };
    engine.refuse = (method, path) => {
      // Without events, the engine may have been killed: the attempt counts as lost.
      const isRefused = path.startsWith('/events') || (method === 'DELETE' && path.includes(container));
      return isRefused ? { status: 500, message: 'device or resource busy' } : undefined;
    };
    const worker = await here.start({ docker: unruly });
    expect(await here.job(id, 'PENDING')).toMatchObject({ id: jobId, attempt: 1, uncountedAttempts: 0 });
    await letPass(here.database.db, id, 11);
    expect(await here.job(id, 'RUNNING')).toMatchObject({ attempt: 2 });
    engine.refuse = undefined;
    await until('it is gone', async () => (await here.docker.inspectContainer(container)) === undefined);
    const { userId } = await here.job(id, 'RUNNING');
    await cancelJob(here.database.db, { userId, id: jobId });
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([jobId]));
    await here.job(id, 'CANCELED');
    await worker.close();
  });

  test('volumes that it does not remove, however many, do not block others', async () => {
    const { db } = here.database;
    const engineId = await here.docker.storeId();
    const userId = await testUser(db, 'bob');
    await db.execute(sql`
      WITH made AS (
        INSERT INTO volumes (id, user_id, name, delete_requested_at)
        SELECT lpad(n::text, 32, '0')::uuid, ${userId}, 'volume-' || n, now() FROM generate_series(1, 101) AS n RETURNING id
      )
      INSERT INTO volume_copies (volume_id, engine_id) SELECT id, ${engineId} FROM made`);
    const before = engine.refused;
    const last = volumeName({ installation: here.installation, userId, name: 'volume-101' });
    engine.refuse = (method, path) =>
      method === 'DELETE' && path.startsWith('/volumes/') && !path.includes(encodeURIComponent(last))
        ? { status: 409, message: 'volume is in use' }
        : undefined;
    const remove = createVolumeRemoval({ db, docker: unruly, installation: here.installation });
    for (let pass = 0; pass < 2; pass++) await remove();
    expect(await db.$count(volumes, eq(volumes.userId, userId))).toBe(100);
    expect(engine.refused - before).toBe(100);
    await db.execute(sql`DELETE FROM volumes WHERE user_id = ${userId}`);
  });

  test('what an attempt has left on one engine belongs to no job once another engine has the job', async () => {
    const { id, jobId, name } = await orphan('sleep 600');
    // Another engine has the same attempt with an expired lease, as versions that reused numbers
    // have left it.
    await here.database.db.execute(sql`UPDATE jobs SET engine_id = 'another' WHERE id = ${jobId}`);
    const worker = await here.start({ docker: unruly });
    await until('it is removed', async () => (await here.docker.inspectContainer(name)) === undefined);
    expect(await here.job(id, 'RUNNING')).toMatchObject({ attempt: 1, engineId: 'another' });
    await here.database.db.execute(sql`UPDATE jobs SET cancel_requested_at = now() WHERE id = ${jobId}`);
    await worker.close();
  });

  test('a drain removes a container that was created but not started, and returns the attempt', async () => {
    const builder = await here.start();
    const { id } = await here.create(shell('echo ran'));
    const { userId } = await here.job(id, 'COMPLETED');
    await builder.close();
    const worker = await here.start({ docker: unruly });
    let closing: Promise<void> | undefined;
    engine.refuse = (method, path) => {
      if (method !== 'GET' || !/^\/containers\/[0-9a-f]{64}\/json/.test(path)) return undefined;
      closing ??= worker.close(); // the worker inspects the created container before it starts it
      return { status: 500, message: 'busy' };
    };
    await runWorkflow(here.database.db, { userId, id });
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await until('it drains', async () => closing?.then(() => true));
    const rows = await here.database.db.execute<{ id: string }>(
      sql`SELECT id, attempt, uncounted_attempts, started_at FROM jobs WHERE workflow_id = ${id} ORDER BY id DESC LIMIT 1`,
    );
    expect(rows).toMatchObject([{ attempt: 1, uncounted_attempts: 1, started_at: null }]);
    expect(await here.containers()).toEqual([]);
    await cancelJob(here.database.db, { userId, id: rows[0]?.id ?? '' });
  });

  test('a claim whose answer comes after its lease starts nothing', async () => {
    const builder = await here.start();
    const { id } = await here.create(shell('echo ran; sleep 1'));
    const { userId } = await here.job(id, 'COMPLETED');
    await builder.close();

    const late = lateAnswers(here.database.db);
    const worker = await here.start({ docker: unruly, db: late.db, capacity: 1 });
    const requested = await runWorkflow(here.database.db, { userId, id });
    if (requested.outcome !== 'REQUESTED') throw new Error(requested.outcome);
    await here.parts.cache.publish(SCHEDULE_CHANNEL, '');
    await late.claimed;
    // 95 seconds pass, and another worker begins the next attempt.
    const { now } = Date;
    vi.spyOn(Date, 'now').mockImplementation(() => now() + 95_000);
    await here.database.db.execute(sql`
      UPDATE jobs SET attempt = 2, lease_token = gen_random_uuid(), lease_owner = 'elsewhere', engine_id = 'elsewhere',
        lease_expires_at = now() + interval '1 hour' WHERE id = ${requested.job.id}`);
    late.answer();
    const next = await here.create(shell('echo next'));
    await here.job(next.id, 'COMPLETED'); // there is one slot, and the late claim has freed it
    expect(asked.filter((request) => request.includes('/start'))).toHaveLength(1);
    expect(asked.filter((request) => request.includes(containerName({ id: requested.job.id, attempt: 1 })))).toEqual(
      [],
    );
    expect(await here.job(id, 'RUNNING', 1)).toMatchObject({ attempt: 2, leaseOwner: 'elsewhere' });
    await worker.close();
  });

  test.each([-3_600, 3_600])(
    'a clock that is %i s off stops no adopted container, nor lets one run on',
    async (seconds) => {
      const shifted = (text: string) => new Date(new Date(text).getTime() + seconds * 1_000).toISOString();
      engine.rewrite = (path, json) =>
        path.startsWith('/info') || path.startsWith('/containers/')
          ? json.replace(
              /"(SystemTime|StartedAt|FinishedAt)":"(?!0001)([^"]*)"/g,
              (_, key, at) => `"${key}":"${shifted(at)}"`,
            )
          : json;
      const first = await here.start({ docker: unruly });
      const run = async (script: string, timeout_seconds: number) => {
        const { id } = await here.create({ ...shell(script), timeout_seconds });
        const { id: jobId } = await here.job(id, 'RUNNING');
        await untilRuns(containerName({ id: jobId, attempt: 1 }));
        return { id, jobId };
      };
      const short = await run(`echo 1; ${UNTIL_LET_GO}; exit 3`, 60);
      // It must not have ended when the worker is closed.
      const long = await run('echo 1; sleep 600', 6);
      await first.close();
      const second = await here.start({ docker: unruly });
      await here.letGo(short.jobId);
      expect(await here.job(short.id, 'FAILED')).toMatchObject({ failureReason: 'EXIT_CODE', exitCode: 3, attempt: 1 });
      const timedOut = await here.job(long.id, 'FAILED');
      expect(timedOut).toMatchObject({ failureReason: 'TIMEOUT', attempt: 1 });
      expect(await storedTexts(here.database.db, timedOut.id)).toEqual(['1']);
      await second.close();
    },
  );
});

/** A database that withholds the answer to its first claim until the test releases it. */
function lateAnswers(db: Db): { db: Db; claimed: Promise<void>; answer: () => void } {
  let onClaimed: () => void = () => undefined;
  let answer: () => void = () => undefined;
  const claimed = new Promise<void>((resolve) => {
    onClaimed = resolve;
  });
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const transaction: Db['transaction'] = async (work, config) => {
    const result = await db.transaction(work, config);
    const { claimed = [] } = (result ?? {}) as { claimed?: unknown[] };
    if (claimed.length > 0) {
      onClaimed();
      await answered;
    }
    return result;
  };
  const late = new Proxy(db, {
    get: (target, key) => (key === 'transaction' ? transaction : Reflect.get(target, key)),
  });
  return { db: late, claimed, answer: () => answer() };
}
