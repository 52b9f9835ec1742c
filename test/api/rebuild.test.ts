import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { type BuildOutcome, endBuild } from '../../db/builds/finish.ts';
import { neededGenerations } from '../../db/builds/images.ts';
import { endWaitsForEngine, postponeBuild } from '../../db/builds/postpone.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { loadPayloads } from '../../db/payloads.ts';
import { schedulingPass } from '../../workers/scheduling/pass.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const FIELDS = `workflow { id generation buildStatus } build { id generation status error waitingFor retryAt }
  userErrors { code path message }`;
const OUTAGE = { waitSeconds: 20, waitsFor: 'The registry is away.', awaitsEngine: false, counted: false };
const WATCHED = { watchedSeconds: () => 3_600 };

describe('rebuildWorkflow', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi({ userLimits: { QUEUED_BUILDS_PER_USER: 3 } });
    ann = await person(api);
  });
  afterAll(() => api.close());

  async function act(name: string, input: object, fields = FIELDS, token = ann.token) {
    const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input!`;
    const document = `mutation ($input: ${type}) { ${name}(input: $input) { ${fields} } }`;
    return (await query(api, document, { token, variables: { input } })).data[name];
  }
  const rebuild = (id: string, more = {}) => act('rebuildWorkflow', { id, ...more });
  const run = (id: string) => act('runWorkflow', { id }, 'job { id generation } userErrors { code message }');
  const claim = async (id: string) => (await claimBuilds(api.db, [id], { owner: 'test' })).claimed[0];
  async function create(): Promise<{ id: string; buildId: string }> {
    const payload = { container: { image: 'alpine:3', args: ['one'] } };
    const { workflow } = await createWorkflow(api, ann, { payload }, 'id build { id }');
    return { id: workflow.id, buildId: workflow.build.id };
  }
  async function end(buildId: string, outcome: Partial<BuildOutcome> & { status: 'COMPLETED' | 'FAILED' }) {
    const build = await claim(buildId);
    if (build === undefined) throw new Error('The build is not queued.');
    const more = outcome.status === 'FAILED' ? { error: 'No such image.' } : { imageId: 'sha256:1' };
    await endBuild(api.db, { ...build, logLineCount: 0, ...more, ...outcome } as BuildOutcome);
  }
  async function built() {
    const made = await create();
    await end(made.buildId, { status: 'COMPLETED' });
    return made;
  }
  const scheduleOf = async (id: string) =>
    (await api.db.execute(sql`SELECT state, generation FROM schedules WHERE workflow_id = ${id}`))[0];

  test('builds a first build that FAILED again, and the workflow runs afterwards', async () => {
    const { id, buildId } = await create();
    await end(buildId, { status: 'FAILED' });
    expect((await run(id)).userErrors).toMatchObject([
      { code: 'NOT_READY', message: expect.stringContaining('rebuildWorkflow') },
    ]);
    const { workflow, build, userErrors } = await rebuild(id);
    expect(userErrors).toEqual([]);
    expect(workflow).toMatchObject({ id, generation: 2, buildStatus: 'QUEUED' });
    expect(build).toMatchObject({ generation: 2, status: 'QUEUED', error: null, waitingFor: null, retryAt: null });
    await end(build.id, { status: 'COMPLETED' });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 2 });
  });

  test('lets a workflow that worked go on with its image, until the new one is COMPLETED', async () => {
    const { id } = await built();
    const first = (await rebuild(id)).build;
    expect((await run(id)).job.generation).toBe(1);
    await end(first.id, { status: 'FAILED' });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 1 });
    expect((await run(id)).job.generation).toBe(1);
    const jobs = `workflow(id: "${id}") { jobs { nodes { status generation } } }`;
    const { data } = await query(api, `{ ${jobs} notifications { nodes { message } } }`, { token: ann.token });
    expect(data.workflow.jobs.nodes).not.toContainEqual(expect.objectContaining({ status: 'CANCELED' }));
    expect(data.notifications.nodes[0].message).toBe('No such image. The workflow goes on with the image that it had.');
    // The image and the payload that it goes on with are kept.
    const generations = [1, 2].map((generation) => ({ workflowId: id, generation }));
    expect([...(await neededGenerations(api.db, generations)).keys()]).toEqual([`${id}:1`]);

    const second = (await rebuild(id)).build;
    expect(second.generation).toBe(3);
    expect([...(await loadPayloads(api.db, [...generations, { workflowId: id, generation: 3 }])).keys()]).toEqual([
      `${id}:1`,
      `${id}:3`,
    ]);
    await end(second.id, { status: 'COMPLETED', imageId: 'sha256:2' });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 3 });
    expect((await run(id)).job.generation).toBe(3);
    const { effects } = await schedulingPass({ db: api.db, limit: 100, watchedSeconds: () => 0 });
    expect(effects.dispatched.length).toBeGreaterThan(0);
  });

  test('does not free a workflow that waits for another payload, and an update with the same payload blocks none', async () => {
    const { id } = await built();
    const other = { id, payload: { container: { image: 'alpine:3', args: ['two'] } } };
    const updated = await act('updateWorkflow', other, 'workflow { build { id } }');
    await end(updated.workflow.build.id, { status: 'FAILED' });
    const { build } = await rebuild(id);
    expect(await scheduleOf(id)).toEqual({ state: 'BLOCKED', generation: 1 });
    await end(build.id, { status: 'COMPLETED' });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 3 });

    await end((await rebuild(id)).build.id, { status: 'FAILED' });
    const again = await act('updateWorkflow', other, 'workflow { generation build { id status } }');
    expect(again.workflow).toMatchObject({ generation: 5, build: { status: 'QUEUED' } });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 3 });
    await end(again.workflow.build.id, { status: 'COMPLETED' });
    expect(await scheduleOf(id)).toEqual({ state: 'READY', generation: 5 });
  });

  test('a lost rebuild leaves the workflow as it is', async () => {
    const { id } = await built();
    const { build } = await rebuild(id);
    const { job } = await run(id);
    await claim(build.id);
    await api.db.execute(
      sql`UPDATE builds SET attempt = 9, lease_expires_at = now() - interval '1 minute' WHERE id = ${build.id}`,
    );
    await sweepBuilds(api.db, WATCHED);
    const { data } = await query(api, `{ job(id: "${job.id}") { status } workflow(id: "${id}") { buildStatus } }`, ann);
    expect(data).toMatchObject({ workflow: { buildStatus: 'FAILED' }, job: { status: 'PENDING' } });
  });

  test('adds nothing while a build waits or runs, and makes one due that waits for an outage', async () => {
    const { id, buildId } = await create();
    expect((await rebuild(id)).build).toMatchObject({ id: buildId, status: 'QUEUED' });
    const lease = await claim(buildId);
    expect((await rebuild(id)).build).toMatchObject({ id: buildId, status: 'STARTED' });
    await postponeBuild(api.db, lease ?? { id: '', leaseToken: '' }, OUTAGE);
    const asked = '{ workflow(id: $id) { buildStatus build { status waitingFor retryAt } } }'.replace('$id', `"${id}"`);
    const shown = (await query(api, asked, ann)).data.workflow;
    expect(shown).toMatchObject({ buildStatus: 'QUEUED', build: { status: 'QUEUED', waitingFor: OUTAGE.waitsFor } });
    const wait = Date.parse(shown.build.retryAt) - Date.now();
    expect(wait).toBeGreaterThan(10_000);
    expect(wait).toBeLessThan(20_000);
    expect(await claim(buildId)).toBeUndefined();
    expect((await sweepBuilds(api.db, WATCHED)).queuedBuildIds).not.toContain(buildId);
    await rebuild(id);
    expect((await sweepBuilds(api.db, WATCHED)).queuedBuildIds).toContain(buildId);
    expect(await claim(buildId)).toMatchObject({ attempt: 2, waits: 1, isLast: false });
    expect((await query(api, asked, ann)).data.workflow.build).toEqual({
      status: 'STARTED',
      waitingFor: null,
      retryAt: null,
    });
    await act('terminateWorkflow', { id }, 'workflow { id }');
  });

  test('a build that waits is canceled like any other, and an engine that is back ends the wait for it', async () => {
    const made = [await create(), await create()];
    for (const { buildId } of made)
      await postponeBuild(api.db, (await claim(buildId)) ?? { id: '', leaseToken: '' }, {
        ...OUTAGE,
        awaitsEngine: true,
      });
    const [first, second] = made.map(({ id, buildId }) => ({ id, buildId }));
    await act('terminateWorkflow', { id: first?.id }, 'workflow { id }');
    expect((await endWaitsForEngine(api.db)).queuedBuildIds).toEqual([second?.buildId]);
    expect(await claim(first?.buildId ?? '')).toBeUndefined();
    expect(await claim(second?.buildId ?? '')).toMatchObject({ attempt: 2 });
    const { data } = await query(api, `{ workflow(id: "${first?.id}") { build { status waitingFor retryAt } } }`, ann);
    expect(data.workflow.build).toEqual({ status: 'CANCELED', waitingFor: null, retryAt: null });
    await act('terminateWorkflow', { id: second?.id }, 'workflow { id }');
  });

  test('an outage that the build may have caused counts, and the last attempt is not postponed', async () => {
    const { id, buildId } = await create();
    for (const isLast of [false, false, true]) {
      const lease = await claim(buildId);
      expect(lease).toMatchObject({ isLast });
      const effects = await postponeBuild(api.db, lease ?? { id: '', leaseToken: '' }, {
        ...OUTAGE,
        waitSeconds: 0,
        counted: true,
      });
      expect(effects === undefined).toBe(isLast);
    }
    await act('terminateWorkflow', { id }, 'workflow { id }');
  });

  test('is refused for a terminated workflow, a HEARTBEAT, another person, a token to run, and beyond the limit', async () => {
    const { workflow: heartbeat } = await createWorkflow(api, ann);
    expect((await rebuild(heartbeat.id)).userErrors).toMatchObject([{ code: 'CONFLICT', path: ['id'] }]);
    const { id } = await built();
    const bob = await person(api, 'bob');
    expect((await act('rebuildWorkflow', { id }, FIELDS, bob.token)).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    expect((await rebuild('nothing')).userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    const waiting = [await create(), await create(), await create()];
    expect((await rebuild(id)).userErrors).toMatchObject([{ code: 'LIMIT_EXCEEDED', path: ['id'] }]);
    for (const one of waiting) await act('terminateWorkflow', { id: one.id }, 'workflow { id }');
    await act('terminateWorkflow', { id }, 'workflow { id }');
    expect((await rebuild(id)).userErrors).toMatchObject([{ code: 'TERMINATED', path: ['id'] }]);
  });

  test('with an idempotency key builds once, and is in the audit', async () => {
    const { id } = await built();
    const key = { idempotencyKey: 'once' };
    const first = await rebuild(id, key);
    await end(first.build.id, { status: 'COMPLETED' });
    expect(await rebuild(id, key)).toMatchObject({
      build: { id: first.build.id, status: 'COMPLETED' },
      workflow: { id, generation: 2 },
    });
    expect((await rebuild((await built()).id, key)).userErrors).toMatchObject([{ code: 'CONFLICT' }]);
    const { data } = await query(api, '{ auditEvents { nodes { action outcome } } }', { token: ann.token });
    expect(data.auditEvents.nodes).toContainEqual({ action: 'rebuildWorkflow', outcome: 'DONE' });
  });
});
