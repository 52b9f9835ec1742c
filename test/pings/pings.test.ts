import { describe, expect, test } from 'vitest';
import { type Person, type TestApi, withAnnAndBob } from '../api/support.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { expectIn, logOf, pushHeartbeat, SLOW_SECONDS, scheduleOf, send } from './support.ts';

const RID = '8ea97b1a-0b6c-4a0f-9d5e-2f3c1b7a9d10';
const OTHER_RID = '8ea97b1a-0b6c-4a0f-9d5e-2f3c1b7a9d11';

describe('a ping', () => {
  let api: TestApi;
  let ann: Person;
  withAnnAndBob((made) => {
    ({ api, ann } = made);
  });

  const nextOf = async (id: string) => (await scheduleOf(api, id)).nextRunAt?.getTime();

  test.each(['GET', 'HEAD', 'POST'])(
    'by %s makes a COMPLETED job, and the next one is expected an interval later',
    async (method) => {
      const { id, url } = await pushHeartbeat(api, ann);
      expect(await nextOf(id)).toBeUndefined();
      for (const nth of [0, 1, 2]) {
        const { status, text, headers } = await send(api, url, { method });
        expect([status, text]).toEqual([200, method === 'HEAD' ? '' : 'OK\n']);
        expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
        expect(headers.get('set-cookie')).toBeNull();
        const job = (await jobsOf(api.db, id))[nth];
        expect(job).toMatchObject({
          trigger: 'PING',
          status: 'COMPLETED',
          attempt: 1,
          exitCode: null,
          logLineCount: 0,
        });
        await expectIn(api, id, 3_600);
        expect((await scheduleOf(api, id)).delaySeconds).toBe(300);
      }
    },
  );

  test('has its body as the lines of its log', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    for (const nth of [0, 1]) {
      await send(api, url, { body: 'one\r\n\ntwo\u0000 ä\nlast' });
      const job = (await jobsOf(api.db, id))[nth];
      expect(job?.logLineCount).toBe(4);
      expect(await logOf(api, ann, job?.id ?? '')).toBe('one\n\ntwo\\x00 ä\nlast\n');
    }
  });

  test('that fails makes a FAILED job, with its exit code if it gives one', async () => {
    const { id, url } = await pushHeartbeat(api, ann, {}, { runPolicy: { retry: { maxRetries: 3 } } });
    for (const path of ['/fail', '/1', '/255', '/0', '']) expect((await send(api, `${url}${path}`)).status).toBe(200);
    const jobs = await jobsOf(api.db, id);
    expect(jobs.map(({ status, failureReason, exitCode }) => [status, failureReason, exitCode])).toEqual([
      ['FAILED', 'CHECK_FAILED', null],
      ['FAILED', 'EXIT_CODE', 1],
      ['FAILED', 'EXIT_CODE', 255],
      ['COMPLETED', null, 0],
      ['COMPLETED', null, null],
    ]);
    expect(jobs[0]?.failureMessage).toBe('A ping said that it failed.');
    expect(jobs[1]?.failureMessage).toBe('A ping said that it ended with the exit code 1.');
    await expectIn(api, id, 3_600);
  });

  test('/start makes no job, and the job of its end begins with it', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    expect((await send(api, `${url}/start`)).status).toBe(200);
    expect(await jobsOf(api.db, id)).toEqual([]);
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 3_600 });
    await letPass(api.db, id, 120);
    await send(api, url);
    const [job] = await jobsOf(api.db, id);
    const took = Number(job?.completedAt) - Number(job?.startedAt);
    expect(took).toBeGreaterThanOrEqual(120_000);
    expect(took).toBeLessThan((120 + SLOW_SECONDS) * 1_000);
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 300 });
    await expectIn(api, id, 3_600);
  });

  test('with a rid ends its own run, and leaves the run of another rid alone', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    await send(api, url); // the first job is counted
    await send(api, `${url}/start?rid=${RID}`);
    await letPass(api.db, id, 60);
    const start = await nextOf(id);
    for (const path of [`?rid=${OTHER_RID}`, '', `/fail?rid=${OTHER_RID}`, `?rid=${OTHER_RID}`]) {
      await send(api, `${url}${path}`);
      expect(await nextOf(id)).toBe(start);
      expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 3_600 });
    }
    await send(api, `${url}?rid=${RID.toUpperCase()}`);
    const took = (await jobsOf(api.db, id)).map((job) => Number(job.completedAt) - Number(job.startedAt));
    expect(took.slice(0, -1)).toEqual([0, 0, 0, 0, 0]);
    expect(took.at(-1)).toBeGreaterThanOrEqual(60_000);
    expect(took.at(-1)).toBeLessThan((60 + SLOW_SECONDS) * 1_000);
    await expectIn(api, id, 3_600);
  });
});
