import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { notifications, workflows } from '../../db/schema.ts';
import { pauseWorkflow, resumeWorkflow } from '../../db/workflows/pause.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { startExecution } from '../../workers/execution/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type Person, type TestApi, withAnnAndBob } from '../api/support.ts';
import { jobIn, jobsOf } from '../support/jobs.ts';
import { letPass, until } from '../support/time.ts';
import { loopbackPolicy, quiet, testSealer } from '../support/workers.ts';
import { expectIn, logOf, pushHeartbeat, SLOW_SECONDS, scheduleOf, send, update } from './support.ts';

describe('a ping that does not come', () => {
  let api: TestApi;
  let ann: Person;
  withAnnAndBob((made) => {
    ({ api, ann } = made);
  });
  let workers: Worker[];
  beforeAll(async () => {
    const { db, bus, cache } = api;
    const parts = { db, bus, cache, log: quiet, owner: 'test', sealer: testSealer, allow: loopbackPolicy() };
    workers = [await startExecution(parts), await startScheduling(parts)];
  });
  afterAll(async () => {
    for (const worker of workers) await worker.close();
  });

  async function pass(id: string, seconds: number): Promise<void> {
    await letPass(api.db, id, seconds);
    await api.cache.publish(SCHEDULE_CHANNEL, '');
  }
  /** Waits until scheduling has looked at the schedule, and has found nothing to do. */
  const looked = (id: string) =>
    until('a look at the schedule', async () => {
      const { wakeAt } = await scheduleOf(api, id);
      return wakeAt === null || wakeAt > new Date();
    });
  const countOf = async (id: string) => {
    const [row] = await api.db.select().from(workflows).where(eq(workflows.id, id));
    return row?.consecutiveJobFailuresCount;
  };
  const iso = (date: Date | null | undefined) => date?.toISOString() ?? '';

  test('fails a job when its grace has passed, each time; a ping ends that, with a notification', async () => {
    const { id, url } = await pushHeartbeat(api, ann, { startGraceSeconds: 600 });
    await pass(id, 7_200);
    await looked(id);
    expect(await jobsOf(api.db, id)).toEqual([]); // nothing is expected before the first ping
    await send(api, url);
    await pass(id, 3_600 + 500);
    await looked(id);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
    await pass(id, 101);
    const missed = await jobIn(api.db, id, 'FAILED', 1);
    expect(missed).toMatchObject({ trigger: 'AUTOMATIC', failureReason: 'CHECK_FAILED' });
    expect(missed.failureMessage).toBe(`No ping came within 600 s of ${iso(missed.scheduledAt)}.`);
    expect(await logOf(api, ann, missed.id)).toBe(`${missed.failureMessage}\n`);
    await pass(id, 3_600);
    await jobIn(api.db, id, 'FAILED', 2);
    expect(await countOf(id)).toBe(2);
    await send(api, url);
    expect(await countOf(id)).toBe(0);
    const sent = await api.db
      .select()
      .from(notifications)
      .where(eq(notifications.workflowId, id))
      .orderBy(notifications.id);
    expect(sent.map(({ kind }) => kind)).toEqual(['JOB_FAILED', 'JOB_FAILED', 'WORKFLOW_RECOVERED']);
    await pass(id, 3_600 + 500);
    await looked(id);
    expect(await jobsOf(api.db, id)).toHaveLength(4);
  });

  test('is not retried, and terminates the workflow at its threshold: then a ping is refused', async () => {
    const { id, url } = await pushHeartbeat(
      api,
      ann,
      {},
      { maxConsecutiveJobFailuresAllowed: 2, runPolicy: { retry: { maxRetries: 5, delaySeconds: 0 } } },
    );
    await send(api, url);
    await pass(id, 3_600 + 301);
    expect(await jobIn(api.db, id, 'FAILED', 1)).toMatchObject({ retries: 0 });
    expect((await send(api, `${url}/fail`)).status).toBe(200);
    const [row] = await api.db.select().from(workflows).where(eq(workflows.id, id));
    expect(row).toMatchObject({ terminationReason: 'FAILURES' });
    for (const path of ['', '/start', '/fail', '/log', '/3']) {
      const { status, text } = await send(api, `${url}${path}`, { body: 'text' });
      expect([status, text]).toEqual([
        410,
        'The workflow of this ping URL is terminated, and takes no pings any more.\n',
      ]);
    }
    expect(await jobsOf(api.db, id)).toHaveLength(3);
  });

  test('to end a run fails a job that says so; afterwards the next slot has its own grace again', async () => {
    const { id, url } = await pushHeartbeat(api, ann, { startGraceSeconds: 60, runGraceSeconds: 900 });
    await send(api, url);
    await send(api, `${url}/start`);
    await pass(id, 800);
    await looked(id);
    expect(await jobsOf(api.db, id)).toHaveLength(1);
    await pass(id, 101);
    const missed = await jobIn(api.db, id, 'FAILED', 1);
    expect(missed.failureMessage).toBe(
      `It started at ${iso(missed.scheduledAt)}, and has not said within 900 s that it ended.`,
    );
    expect((await scheduleOf(api, id)).delaySeconds).toBe(60);
    await pass(id, 3_600 + 65);
    const second = await jobIn(api.db, id, 'FAILED', 2);
    expect(second.failureMessage).toBe(`No ping came within 60 s of ${iso(second.scheduledAt)}.`);
    // It ends at last: its job begins with its start.
    await send(api, url);
    const late = await jobIn(api.db, id, 'COMPLETED', 3);
    expect(Number(late.completedAt) - Number(late.startedAt)).toBeGreaterThan(4_500_000);
    await send(api, url);
    const next = await jobIn(api.db, id, 'COMPLETED', 4);
    expect(Number(next.completedAt) - Number(next.startedAt)).toBe(0);
  });

  test('is not missed in a pause, nor for one grace after it; a ping in the pause is a job', async () => {
    const { id, url } = await pushHeartbeat(
      api,
      ann,
      {},
      { schedule: { cron: { expressions: ['0 * * * *'] } }, interval: undefined },
    );
    const key = { userId: ann.id, id };
    await pauseWorkflow(api.db, key);
    await resumeWorkflow(api.db, key);
    await pass(id, 0);
    await looked(id);
    expect((await scheduleOf(api, id)).nextRunAt).toBeNull(); // there was no ping yet
    await send(api, url);
    const first = (await scheduleOf(api, id)).nextRunAt;
    expect([first?.getUTCMinutes(), first?.getUTCSeconds()]).toEqual([0, 0]);
    await pauseWorkflow(api.db, key);
    await pass(id, 10_800);
    await looked(id);
    await send(api, url);
    expect(await jobsOf(api.db, id)).toHaveLength(2);
    expect((await scheduleOf(api, id)).wakeAt).toBeNull();
    await pass(id, 10_800);
    await resumeWorkflow(api.db, key);
    await api.cache.publish(SCHEDULE_CHANNEL, '');
    await until('the end of the pause', async () => !(await scheduleOf(api, id)).paused);
    await looked(id);
    expect(await jobsOf(api.db, id)).toHaveLength(2);
    const { nextRunAt, wakeAt } = await scheduleOf(api, id);
    expect(nextRunAt?.getTime()).toBeGreaterThan(Date.now());
    expect(Math.abs(Number(wakeAt) - Number(nextRunAt) - 300_000)).toBeLessThan(1_000);
  });

  describe.each([
    ['an interval', {}],
    ['a calendar', { schedule: { cron: { expressions: ['30 2 * * *'] } }, interval: undefined }],
    ['no slots', { schedule: { manual: true }, interval: undefined }],
  ] as const)('as the end of a run, with %s,', (_, timing) => {
    const resume = async (id: string) => {
      await resumeWorkflow(api.db, { userId: ann.id, id });
      await api.cache.publish(SCHEDULE_CHANNEL, '');
      await until('the end of the pause', async () => !(await scheduleOf(api, id)).paused);
      await looked(id);
    };
    const deadlineOf = async (id: string) => {
      const { nextRunAt, delaySeconds } = await scheduleOf(api, id);
      return (Number(nextRunAt) - Date.now()) / 1_000 + delaySeconds;
    };
    const begun = async () => {
      const { id, url } = await pushHeartbeat(api, ann, { startGraceSeconds: 300, runGraceSeconds: 3_600 }, timing);
      await send(api, url);
      return { id, url, key: { userId: ann.id, id } };
    };

    test.each(['before', 'in'])('that began %s a pause, is missed one grace after the pause', async (when) => {
      const { id, url, key } = await begun();
      if (when === 'before') await send(api, `${url}/start`);
      await pauseWorkflow(api.db, key);
      await pass(id, 600);
      if (when === 'in') await send(api, `${url}/start`);
      await pass(id, 5_000);
      await resume(id);
      expect(await deadlineOf(id)).toBeGreaterThan(300 - SLOW_SECONDS);
      expect(await deadlineOf(id)).toBeLessThanOrEqual(301);
      // An update leaves it so, unless it gives longer.
      await update(api, ann, { id, name: 'other', runPolicy: { spreadSeconds: 60 } });
      await update(api, ann, {
        id,
        payload: { heartbeat: { push: { startGraceSeconds: 300, runGraceSeconds: 600 } } },
      });
      await pass(id, 200);
      await looked(id);
      expect(await jobsOf(api.db, id)).toHaveLength(1);
      await pass(id, 101);
      const { failureMessage } = await jobIn(api.db, id, 'FAILED', 1);
      expect(failureMessage).toMatch(/^It started at .* has not said within 600 s that it ended\.$/);
      const { nextRunAt, delaySeconds } = await scheduleOf(api, id);
      expect(delaySeconds).toBe(300);
      expect(nextRunAt === null).toBe('schedule' in timing && 'manual' in timing.schedule);
    });

    test('that began before a pause and has its grace left, is expected as if there were no pause', async () => {
      const { id, url, key } = await begun();
      await send(api, `${url}/start`);
      await pauseWorkflow(api.db, key);
      await pass(id, 600);
      await resume(id);
      expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 3_600 });
      expect(await deadlineOf(id)).toBeGreaterThan(3_000 - SLOW_SECONDS);
      expect(await deadlineOf(id)).toBeLessThanOrEqual(3_001);
      await send(api, url);
      expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 300 });
      expect(await jobsOf(api.db, id)).toHaveLength(2);
    });

    test('that ends in the pause, is not expected, and the next slot has its own grace', async () => {
      const { id, url, key } = await begun();
      await send(api, `${url}/start`);
      await pauseWorkflow(api.db, key);
      await pass(id, 600);
      await send(api, url);
      await pass(id, 90_000);
      await resume(id);
      const { nextRunAt, delaySeconds } = await scheduleOf(api, id);
      expect(delaySeconds).toBe(300);
      if (nextRunAt !== null) expect(Number(nextRunAt)).toBeGreaterThan(Date.now());
      expect(await jobsOf(api.db, id)).toHaveLength(2);
    });
  });

  test('is dropped when the scheduler sees it too late, and the next slot has its own grace', async () => {
    const { id, url } = await pushHeartbeat(api, ann, {}, { runPolicy: { startWithinSeconds: 60 } });
    await send(api, `${url}/start`);
    await pass(id, 3_600 + 90);
    await until('the drop', async () => (await scheduleOf(api, id)).skippedRunCount > 0);
    await looked(id);
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 300 });
    expect(await jobsOf(api.db, id)).toEqual([]);
  });

  test('is expected of a workflow that runs by hand only as the end of a run', async () => {
    const { id, url } = await pushHeartbeat(api, ann, {}, { schedule: { manual: true }, interval: undefined });
    await send(api, url);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt: null });
    await send(api, `${url}/start`);
    await pass(id, 3_601);
    const { failureMessage } = await jobIn(api.db, id, 'FAILED', 1);
    expect(failureMessage).toMatch(/^It started at .* has not said within 3600 s that it ended\.$/);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt: null });
  });

  test('is a job of one moment with a ping: whatever comes first, the count is right and nothing is expected twice', async () => {
    const { id, url } = await pushHeartbeat(api, ann, {}, { maxConsecutiveJobFailuresAllowed: 100 });
    for (let n = 0; n < 5; n++) {
      await send(api, url);
      await letPass(api.db, id, 3_600 + 301);
      await Promise.all([api.cache.publish(SCHEDULE_CHANNEL, ''), send(api, url), send(api, url)]);
      await until('all jobs to end', async () =>
        (await jobsOf(api.db, id)).every(({ completedAt }) => completedAt !== null),
      );
      expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 300 });
      await expectIn(api, id, 3_600);
    }
    await send(api, url);
    expect(await countOf(id)).toBe(0);
  });
});
