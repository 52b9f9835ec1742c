import { eq, sql } from 'drizzle-orm';
import { describe, expect, test } from 'vitest';
import { notifications, pings, workflows } from '../../db/schema.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { createWorkflow, type Person, query, type TestApi, withAnnAndBob } from '../api/support.ts';
import { claim, end, run, schedule } from '../scheduling/support.ts';
import { jobsOf } from '../support/jobs.ts';
import { letPass } from '../support/time.ts';
import { expectIn, pushHeartbeat, scheduleOf, send, update } from './support.ts';

const PUSH_ONCE = {
  code: 'INVALID',
  path: ['schedule'],
  message: 'Pings are expected again and again: with push, give everyMinutes, cron or manual, and not at.',
};

describe('a push heartbeat', () => {
  let api: TestApi;
  let ann: Person;
  withAnnAndBob((made) => {
    ({ api, ann } = made);
  });

  const nextOf = async (id: string) => (await scheduleOf(api, id)).nextRunAt;
  const change = async (id: string, input: object) => {
    const { workflow, userErrors } = await update(api, ann, { id, ...input });
    expect(userErrors).toEqual([]);
    return workflow.pingUrl;
  };
  const problemsOf = async (payload: object) => {
    const { userErrors } = await createWorkflow(api, ann, { payload });
    return userErrors.map(({ path, message }) => `${path.join('.')}: ${message}`);
  };

  test('becomes a check and a push heartbeat again, with another URL and nothing expected before its first ping', async () => {
    const { id, url } = await pushHeartbeat(
      api,
      ann,
      { startGraceSeconds: 60 },
      { runPolicy: { spreadSeconds: 3_600 } },
    );
    await send(api, url);
    expect(await change(id, { payload: { heartbeat: { endpoint: 'http://127.0.0.1:1/' } } })).toBeNull();
    await expectIn(api, id, 0);
    const { delaySeconds } = await scheduleOf(api, id);
    expect((await send(api, url)).status).toBe(404);
    const other = await change(id, { payload: { heartbeat: { push: { startGraceSeconds: 61 } } } });
    expect(other).toMatch(/^\/ping\/cvp_/);
    expect(other).not.toBe(url);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt: null, delaySeconds: 61 });
    expect((await send(api, url)).status).toBe(404);
    expect((await send(api, other)).status).toBe(200);
    await expectIn(api, id, 3_600);
    await change(id, { payload: { heartbeat: {} }, schedule: { everyMinutes: 5 }, interval: undefined });
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds, intervalMinutes: 5 });
    expect(await jobsOf(api.db, id)).toHaveLength(2);
  });

  test('keeps its URL and its slot when its graces or its run policy change', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    await send(api, url);
    const { nextRunAt } = await scheduleOf(api, id);
    const payload = { heartbeat: { push: { startGraceSeconds: 10, runGraceSeconds: 20 } } };
    expect(await change(id, { payload })).toBe(url);
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt, delaySeconds: 10 });
    await change(id, { runPolicy: { spreadSeconds: 3_600 } });
    expect(await scheduleOf(api, id)).toMatchObject({ nextRunAt, delaySeconds: 10 });
    await send(api, `${url}/start`);
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 20 });
    const started = await scheduleOf(api, id);
    await change(id, { payload: { heartbeat: { push: { runGraceSeconds: 30 } } }, schedule: { everyMinutes: 7 } });
    expect(await scheduleOf(api, id)).toMatchObject({
      nextRunAt: started.nextRunAt,
      delaySeconds: 30,
      intervalMinutes: 7,
    });
    await send(api, url);
    expect(await scheduleOf(api, id)).toMatchObject({ delaySeconds: 300 });
    await expectIn(api, id, 420);
  });

  test('expects its next ping by a new schedule, if it had one before', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    await change(id, { schedule: { everyMinutes: 5 } });
    expect(await nextOf(id)).toBeNull();
    await send(api, url);
    await expectIn(api, id, 300);
    await change(id, { schedule: { everyMinutes: 10 } });
    await expectIn(api, id, 600);
    await change(id, { schedule: { cron: { expressions: ['0 0 1 1 *'], timeZone: 'Europe/Berlin' } } });
    expect((await scheduleOf(api, id)).nextRunAt?.toISOString()).toMatch(/-12-31T23:00:00\.000Z$/);
    await send(api, url);
    expect((await scheduleOf(api, id)).nextRunAt?.toISOString()).toMatch(/-12-31T23:00:00\.000Z$/);
    await change(id, { schedule: { manual: true } });
    expect(await nextOf(id)).toBeNull();
  });

  test('expects the first slot after now although its calendar has ended, and none outside its bounds', async () => {
    const startsAt = new Date(Date.now() + 5 * 86_400_000);
    const cron = { expressions: ['30 4 * * *'], startsAt: startsAt.toISOString() };
    const { id, url } = await pushHeartbeat(api, ann, {}, { interval: undefined, schedule: { cron } });
    for (const end of ['', '', '/fail', '']) {
      await send(api, `${url}${end}`);
      const first = (await scheduleOf(api, id)).nextRunAt;
      expect(first?.getTime()).toBeGreaterThanOrEqual(startsAt.getTime());
      expect(first?.getTime()).toBeLessThan(startsAt.getTime() + 86_400_000);
      // Nothing has refilled it for long.
      await api.db.execute(sql`UPDATE calendars SET occurrences = ARRAY[now() - interval '1 day'], is_last = false`);
    }
    await change(id, { schedule: { cron: { expressions: ['30 4 * * *'] } } });
    await api.db.execute(sql`
      UPDATE calendars SET occurrences = ARRAY[now() - interval '1 day', now() + interval '1 hour', now() + interval '1 day']`);
    for (const [minutes, seconds] of [
      [90, 3_600],
      [30, null],
    ] as const) {
      await api.db.execute(sql`
        UPDATE schedules SET ends_at = now() + make_interval(mins => ${minutes}) WHERE workflow_id = ${id}`);
      await send(api, url);
      if (seconds) await expectIn(api, id, seconds);
      else expect(await nextOf(id)).toBeNull();
    }
    expect(await jobsOf(api.db, id)).toHaveLength(6);
  });

  test('cannot be expected once, and cannot be run', async () => {
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const push = { payload: { heartbeat: { push: {} } } };
    const created = await createWorkflow(api, ann, { ...push, interval: undefined, schedule: { at } });
    expect(created).toEqual({ workflow: null, userErrors: [PUSH_ONCE] });
    const { id, url } = await pushHeartbeat(api, ann);
    expect((await update(api, ann, { id, schedule: { at } })).userErrors).toEqual([PUSH_ONCE]);
    const { workflow } = await createWorkflow(api, ann, { interval: undefined, schedule: { at } });
    expect((await update(api, ann, { id: workflow.id, ...push })).userErrors).toEqual([PUSH_ONCE]);
    const run = `mutation { runWorkflow(input: { id: "${id}" }) { job { id } userErrors { code message } } }`;
    expect((await query(api, run, { token: ann.token })).data.runWorkflow).toEqual({
      job: null,
      userErrors: [
        { code: 'CONFLICT', message: 'A push heartbeat runs nothing by itself: send a ping to its `pingUrl`.' },
      ],
    });
    const rotate = `mutation { rotatePingToken(input: { id: "${workflow.id}" }) { userErrors { code message } } }`;
    expect((await query(api, rotate, { token: ann.token })).data.rotatePingToken.userErrors).toEqual([
      { code: 'CONFLICT', message: 'The workflow is no push heartbeat: give it a payload with `push`.' },
    ]);
    expect((await send(api, url)).status).toBe(200);
  });

  test('has no other field, and graces within bounds', async () => {
    const both = 'Give "endpoint" or "push", not both.';
    const none = 'With push, pings come and nothing is checked: leave this out.';
    expect(
      await problemsOf({
        heartbeat: { push: {}, endpoint: 'http://a.example', timeoutSeconds: 3, method: 'GET', headers: [] },
      }),
    ).toEqual([
      `payload.heartbeat.endpoint: ${both}`,
      `payload.heartbeat.method: ${none}`,
      `payload.heartbeat.headers: ${none}`,
      `payload.heartbeat.timeoutSeconds: ${none}`,
    ]);
    const bounds = 'must be 1 to 2592000 seconds.';
    expect(await problemsOf({ heartbeat: { push: { startGraceSeconds: 0, runGraceSeconds: 2_592_001 } } })).toEqual([
      `payload.heartbeat.push.startGraceSeconds: The grace of a ping ${bounds}`,
      `payload.heartbeat.push.runGraceSeconds: The grace of a run ${bounds}`,
    ]);
    const json = (push: unknown) => problemsOf({ json: JSON.stringify({ kind: 'HEARTBEAT', push }) });
    expect(await json({ run_grace_seconds: 1.5, post_only: 'yes', postonly: true })).toEqual([
      'payload.json.push.run_grace_seconds: The grace of a run must be a whole number of seconds.',
      'payload.json.push.post_only: post_only must be true or false, not text.',
      'payload.json.push.postonly: "postonly" is not a key of this document. Did you mean "post_only"?',
    ]);
    expect(await json(true)).toEqual([
      'payload.json.push: push must be an object, like {"start_grace_seconds": 300}, not true or false.',
    ]);
    expect(await json({ start_grace_seconds: 1, run_grace_seconds: 2_592_000, post_only: true })).toEqual([]);
  });

  test('recovers by the success of a check that began before its pings', async () => {
    const { workflow } = await createWorkflow(api, ann, { maxConsecutiveJobFailuresAllowed: 5 });
    const { id } = workflow;
    await run(api.db, { status: 'COMPLETED' }); // its count is written
    await letPass(api.db, id, 60);
    const [job] = await claim(api.db, await schedule(api.db));
    if (job === undefined) throw new Error('There is no job.');
    const url = await change(id, { payload: { heartbeat: { push: {} } } });
    await send(api, `${url}/fail`);
    const countOf = async () =>
      (await api.db.select().from(workflows).where(eq(workflows.id, id)))[0]?.consecutiveJobFailuresCount;
    expect(await countOf()).toBe(1);
    await end(api.db, job, { status: 'COMPLETED' });
    expect(await countOf()).toBe(0);
  });

  test('notifies of runs that are too short, as its run policy says', async () => {
    const { id, url } = await pushHeartbeat(api, ann, {}, { runPolicy: { expectedMinSeconds: 60 } });
    for (const seconds of [90, 5]) {
      await send(api, `${url}/start`);
      await letPass(api.db, id, seconds);
      await send(api, url);
    }
    const sent = await api.db.select().from(notifications).where(eq(notifications.workflowId, id));
    expect(sent.map(({ kind }) => kind)).toEqual(['JOB_SHORT']);
  });

  test('takes no pings when it is deleted, and its URL is unknown once it is purged', async () => {
    const { id, url } = await pushHeartbeat(api, ann);
    const remove = (purge: boolean) =>
      query(api, `mutation { deleteWorkflow(input: { id: "${id}", purge: ${purge} }) { userErrors { code } } }`, {
        token: ann.token,
      });
    await send(api, url);
    await remove(false);
    expect((await send(api, url)).status).toBe(410);
    await remove(true);
    expect((await send(api, url)).status).toBe(404);
    expect(await api.db.select().from(pings).where(eq(pings.workflowId, id))).toEqual([]);
    await api.db.execute(sql`DELETE FROM schedules WHERE workflow_id = ${id}`);
    while (await purgeSome(api.db));
    expect(await jobsOf(api.db, id)).toEqual([]);
  });
});
