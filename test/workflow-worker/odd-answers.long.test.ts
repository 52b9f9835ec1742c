import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob } from '../../db/jobs/cancel.ts';
import { jobs, workflows } from '../../db/schema.ts';
import { CANCEL_CHANNEL, encodeIds } from '../../domain/hints.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { containerName } from '../../workers/workflow/jobs/container.ts';
import { UNTIL_LET_GO } from '../support/gate.ts';
import { requirePart } from '../support/parts.ts';
import { type Refusal, type RefusingEngine, refusingEngine } from '../support/refusing-engine.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { type Installation, openInstallation, storedTexts } from './support.ts';

const STOP = /^POST .*\/stop/;
const LOGS = /^GET .*\/logs/;
const WAIT = /^POST .*\/wait/;

const host = requirePart('docker', 'jobs whose engine answers what it should not');
describe.skipIf(host === undefined)('an engine with unexpected answers', () => {
  let here: Installation;
  let engine: RefusingEngine;
  let odd: Docker;
  beforeAll(async () => {
    here = await openInstallation(host);
    engine = await refusingEngine(host ?? '');
    odd = createDocker({ host: engine.host, log: quiet });
  });
  afterEach(() => {
    engine.refuse = undefined;
    engine.rewrite = undefined;
  });
  afterAll(async () => {
    await here.close();
    await engine.close();
  });

  const shell = (script: string, timeoutSeconds = 600) => ({
    command: ['sh', '-c'],
    args: [script],
    timeout_seconds: timeoutSeconds,
  });

  /** Refuses the first `times` requests that match. */
  function refuse(matches: RegExp, refusal: Refusal, times = 1): void {
    let left = times;
    engine.refuse = (method, path) => {
      if (left === 0 || !matches.test(`${method} ${path}`)) return undefined;
      left -= 1;
      return refusal;
    };
  }

  const ended = (workflowId: string) =>
    until('the job has ended', async () => {
      const [row] = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, workflowId));
      return row?.completedAt ? row : undefined;
    });
  const failures = async (workflowId: string) => {
    const [row] = await here.database.db.select().from(workflows).where(eq(workflows.id, workflowId));
    return row?.consecutiveJobFailuresCount;
  };
  const untilPrinted = (jobId: string) =>
    until('it has printed', async () => (await storedTexts(here.database.db, jobId)).length > 0);

  async function cancel({ id, userId }: { id: string; userId: string }): Promise<void> {
    expect(await cancelJob(here.database.db, { userId, id })).toMatchObject({ outcome: 'STOPPING' });
    await here.parts.cache.publish(CANCEL_CHANNEL, encodeIds([id]));
  }

  const LOST_STOP = {
    status: 500,
    message: 'tried to kill container, but did not receive an exit event',
    carriedOut: true,
  };

  test('a container that was stopped for its time-out has timed out, although the engine does not say who stopped it', async () => {
    const worker = await here.start({ docker: odd });
    refuse(STOP, LOST_STOP);
    const { id } = await here.create(shell('trap "exit 1" TERM; while :; do sleep 0.1; done', 1));
    expect(await ended(id)).toMatchObject({ status: 'FAILED', failureReason: 'TIMEOUT', attempt: 1 });
    await worker.close();
  });

  test('P4: a canceled job is CANCELED and counts as no failure, although the engine does not say who stopped it', async () => {
    const worker = await here.start({ docker: odd });
    refuse(STOP, LOST_STOP);
    const { id } = await here.create(shell('trap "exit 1" TERM; echo up; while :; do sleep 0.1; done'));
    const job = await here.job(id, 'RUNNING');
    await untilPrinted(job.id);
    await cancel(job);
    expect(await ended(id)).toMatchObject({ status: 'CANCELED', attempt: 1 });
    expect(await failures(id)).toBe(0);
    await worker.close();
  });

  test.each([
    ['a cancellation', 600, 1, { status: 'CANCELED', attempt: 1 }, 0],
    ['a time-out', 1, 143, { status: 'FAILED', failureReason: 'TIMEOUT', attempt: 1 }, 1],
  ])(
    'a worker that stops while it ends a container for %s leaves the reason to the next one',
    async (_, seconds, code, outcome, count) => {
      const first = await here.start({ docker: odd });
      let isStopping = false;
      engine.refuse = (method, path) => {
        isStopping ||= STOP.test(`${method} ${path}`);
        return undefined;
      };
      const { id } = await here.create(
        shell(`trap "${UNTIL_LET_GO}; exit ${code}" TERM; echo up; while :; do sleep 0.1; done`, seconds),
      );
      const job = await here.job(id, 'RUNNING');
      await untilPrinted(job.id);
      if (outcome.status === 'CANCELED') await cancel(job);
      await until('it is being stopped', async () => isStopping);
      await first.close();
      await here.letGo(job.id);
      const name = containerName({ id: job.id, attempt: 1 });
      await until('it has ended', async () => (await here.docker.inspectContainer(name))?.status === 'ended');
      const next = await here.start();
      expect(await ended(id)).toMatchObject(outcome);
      expect(await failures(id)).toBe(count);
      await next.close();
    },
  );

  test.each([
    ['not found, in words that no engine uses', LOGS, { status: 404, message: '404 page not found' }],
    ['forbidden', LOGS, { status: 403, message: 'forbidden' }],
    ['wrong', WAIT, { status: 400, message: 'bad request' }],
  ])(
    'P2: a request for a container that is %s for a moment costs neither an attempt nor the job',
    async (_, matches, refusal) => {
      const worker = await here.start({ docker: odd });
      const { id } = await here.create(shell('echo up; sleep 1; echo done'));
      refuse(matches, refusal, 2);
      const job = await ended(id);
      expect(job).toMatchObject({ status: 'COMPLETED', attempt: 1 });
      await until('its log is whole', async () => {
        const texts = await storedTexts(here.database.db, job.id);
        return texts.join() === 'up,done';
      });
      await worker.close();
    },
  );

  test('a worker whose address now leads to another engine removes nothing that runs there', async () => {
    const runner = await here.start();
    const { id } = await here.create(shell(`echo up; ${UNTIL_LET_GO}; echo done`));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await untilPrinted(jobId);
    engine.rewrite = (path, json) =>
      path.startsWith('/info') ? JSON.stringify({ ...JSON.parse(json), ID: 'the engine before' }) : json;
    const moved = createDocker({ host: engine.host, log: quiet });
    expect(await moved.engineId()).toBe('the engine before');
    engine.rewrite = undefined;
    let hasListed = false;
    engine.refuse = (_, path) => {
      hasListed ||= path.startsWith('/containers/json');
      return undefined;
    };
    const other = await here.start({ docker: moved });
    await until('it lists the containers', async () => hasListed);
    await other.close(); // which waits until it has done what follows from the list
    await here.letGo(jobId);
    expect(await ended(id)).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    await runner.close();
  });

  test('P2: a container unknown to another engine at the same address is left, and adopted when its own engine is back', async () => {
    const moved = createDocker({ host: engine.host, log: quiet });
    const worker = await here.start({ docker: moved });
    const { id } = await here.create(shell(`echo up; ${UNTIL_LET_GO}; echo done`));
    const { id: jobId } = await here.job(id, 'RUNNING');
    await untilPrinted(jobId);
    engine.rewrite = (path, json) => {
      if (path.startsWith('/info')) return JSON.stringify({ ...JSON.parse(json), ID: 'another engine' });
      return path.startsWith('/containers/json') ? '[]' : json;
    };
    engine.refuse = (_, path) =>
      /^\/containers\/[0-9a-f]{64}\//.test(path) ? { status: 404, message: 'No such container' } : undefined;
    await here.letGo(jobId);
    await until('it is left', async () => {
      const [row] = await here.database.db.select().from(jobs).where(eq(jobs.workflowId, id));
      expect(row).toMatchObject({ status: 'RUNNING', attempt: 1 });
      return (row?.leaseExpiresAt?.getTime() ?? 0) < Date.now();
    });
    engine.refuse = undefined;
    engine.rewrite = undefined;
    expect(await ended(id)).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    await until('its log is whole', async () => (await storedTexts(here.database.db, jobId)).join() === 'up,done');
    await worker.close();
  });
});
