import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { newId } from '../../domain/ids.ts';
import { type Person, person, query, type TestApi, testApi } from '../api/support.ts';
import { claim, end, schedule } from '../scheduling/support.ts';

const AT_ONCE = 12;
const HEARTBEAT = { heartbeat: {} };
const CONTAINER = { container: { image: 'alpine:3' } };

describe('the limits of one user', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi({
      userLimits: {
        WORKFLOWS_PER_USER: 5,
        PAYLOAD_BYTES_PER_USER: 6_000,
        GENERATIONS_PER_WORKFLOW: 3,
        QUEUED_HEARTBEATS_PER_USER: 4,
        QUEUED_CONTAINERS_PER_USER: 3,
        QUEUED_BUILDS_PER_USER: 2,
      },
    });
  });
  beforeEach(async () => {
    ann = await person(api, 'ann');
  });
  afterAll(() => api.close());

  type Made = { id: string | undefined; error: { code: string; message: string; path: string[] | null } | undefined };
  async function call(name: string, fields: string, input: object, { token } = ann): Promise<Made> {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
    const document = `mutation ($input: ${type}!) { ${name}(input: $input) { object: ${fields} { id } userErrors { code message path } } }`;
    const { data, errors } = await query(api, document, { token, variables: { input } });
    expect(errors).toBeUndefined();
    return { id: data[name].object?.id, error: data[name].userErrors[0] };
  }
  const create = (payload: object = HEARTBEAT, more: object = {}, who = ann) =>
    call(
      'createWorkflow',
      'workflow',
      { name: 'x', payload, interval: 60, maxConsecutiveJobFailuresAllowed: 3, ...more },
      who,
    );
  const update = (id: string, payload: object) => call('updateWorkflow', 'workflow', { id, payload });
  const run = (id: string, more: object = {}) => call('runWorkflow', 'job', { id, ...more });
  const remove = (id: string) =>
    query(api, 'mutation ($id: ID!) { deleteWorkflow(input: { id: $id }) { deletedWorkflowId } }', {
      token: ann.token,
      variables: { id },
    });
  const many = <T>(make: (n: number) => Promise<T>) => Promise.all(Array.from({ length: AT_ONCE }, (_, n) => make(n)));
  const madeOf = (all: Made[]) => all.flatMap(({ id }) => id ?? []);
  const refusedBy = (limit: string, path: string[] | null) => ({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining(limit),
    path,
  });
  /** Completes every waiting build. */
  async function build(): Promise<void> {
    const rows = await api.db.execute<{ id: string }>(sql`SELECT id FROM builds WHERE completed_at IS NULL`);
    const { claimed } = await claimBuilds(
      api.db,
      rows.map(({ id }) => id),
      { owner: 'test' },
    );
    for (const each of claimed)
      await endBuild(api.db, { ...each, logLineCount: 0, status: 'COMPLETED', imageId: 'sha256:1' });
  }
  const generations = async (id: string) => {
    const rows = await api.db.execute<{ generation: number }>(sql`
      SELECT generation FROM payloads WHERE workflow_id = ${id} ORDER BY generation`);
    return rows.map(({ generation }) => generation);
  };
  const endpoint = (n: number) => ({ heartbeat: { endpoint: `http://example.com/${n}` } });

  test('WORKFLOWS_PER_USER: of many at once only as many as fit are made, a deleted one makes room, and users count separately', async () => {
    const made = await many(() => create());
    expect(madeOf(made)).toHaveLength(5);
    expect(made.filter(({ error }) => error !== undefined).map(({ error }) => error)).toEqual(
      Array.from({ length: AT_ONCE - 5 }, () => refusedBy('WORKFLOWS_PER_USER', null)),
    );
    await remove(madeOf(made)[0] ?? '');
    expect(madeOf(await many(() => create()))).toHaveLength(1);
    expect((await create(HEARTBEAT, {}, await person(api, 'bob'))).error).toBeUndefined();
  });

  test('WORKFLOWS_PER_USER: creating and deleting stops at ten times the limit, until deleted workflows are purged', async () => {
    for (let n = 0; n < 50; n += 1) {
      const { id, error } = await create();
      expect(error).toBeUndefined();
      await remove(id ?? '');
    }
    expect((await create()).error).toEqual(refusedBy('WORKFLOWS_PER_USER', null));
    const purge = 'mutation ($id: ID!) { deleteWorkflow(input: { id: $id, purge: true }) { deletedWorkflowId } }';
    const rows = await api.db.execute<{ id: string }>(sql`SELECT id FROM workflows WHERE user_id = ${ann.id} LIMIT 1`);
    await query(api, purge, { token: ann.token, variables: rows[0] });
    // The rows of the workflow are still there.
    expect((await create()).error).toEqual(refusedBy('WORKFLOWS_PER_USER', null));
    // The schedule goes when the last job has ended.
    await api.db.execute(sql`DELETE FROM schedules WHERE workflow_id = ${rows[0]?.id}`);
    while (await purgeSome(api.db));
    expect((await create()).error).toBeUndefined();
    expect((await create()).error).toEqual(refusedBy('WORKFLOWS_PER_USER', null));
  });

  test('a refused call leaves its idempotency key free', async () => {
    const ids = madeOf(await many(() => create()));
    const key = { idempotencyKey: newId() };
    expect((await create(HEARTBEAT, key)).error).toEqual(refusedBy('WORKFLOWS_PER_USER', null));
    await remove(ids[0] ?? '');
    expect((await create(HEARTBEAT, key)).id).toBeDefined();
  });

  test('QUEUED_HEARTBEATS_PER_USER: counts over all workflows of a user, until the jobs are dispatched or canceled', async () => {
    const { id: first = '' } = await create();
    const { id: second = '' } = await create();
    const made = await many((n) => run(n % 2 ? first : second));
    expect(madeOf(made)).toHaveLength(4);
    expect(made.find(({ error }) => error)?.error).toEqual(refusedBy('QUEUED_HEARTBEATS_PER_USER', ['id']));
    await query(api, 'mutation ($id: ID!) { cancelJob(input: { id: $id }) { job { id } } }', {
      token: ann.token,
      variables: { id: madeOf(made)[0] },
    });
    expect(madeOf(await many(() => run(first)))).toHaveLength(1);
    const jobs = await claim(api.db, await schedule(api.db));
    for (const job of jobs) await end(api.db, job, { status: 'COMPLETED' });
    await schedule(api.db);
    expect((await run(first)).error).toBeUndefined();
  });

  test('QUEUED_CONTAINERS_PER_USER is counted separately from heartbeats', async () => {
    const { id: container = '' } = await create(CONTAINER);
    const { id: heartbeat = '' } = await create();
    await build();
    const made = await many(() => run(container));
    expect(madeOf(made)).toHaveLength(3);
    expect(made.find(({ error }) => error)?.error).toEqual(refusedBy('QUEUED_CONTAINERS_PER_USER', ['id']));
    expect((await run(heartbeat)).error).toBeUndefined();
  });

  test('QUEUED_BUILDS_PER_USER: counts builds that wait or run, new ones and those of updates', async () => {
    const made = await many(() => create(CONTAINER));
    expect(madeOf(made)).toHaveLength(2);
    expect(made.find(({ error }) => error)?.error).toEqual(refusedBy('QUEUED_BUILDS_PER_USER', ['payload']));
    const [first = ''] = madeOf(made);
    // It replaces the former build of this workflow.
    expect((await update(first, { container: { image: 'alpine:4' } })).error).toBeUndefined();
    await build();
    expect(madeOf(await many(() => create(CONTAINER)))).toHaveLength(2);
    expect((await update(first, { container: { image: 'alpine:5' } })).error).toEqual(
      refusedBy('QUEUED_BUILDS_PER_USER', ['payload']),
    );
  });

  test('PAYLOAD_BYTES_PER_USER: counts everything stored, and deleted workflows until their purge', async () => {
    const large = { heartbeat: { endpoint: `http://example.com/${'x'.repeat(1_500)}` } };
    const made = await many(() => create(large));
    expect(madeOf(made)).toHaveLength(3);
    expect(made.find(({ error }) => error)?.error).toEqual(refusedBy('PAYLOAD_BYTES_PER_USER', ['payload']));
    const { id: small = '' } = await create();
    expect((await update(small, large)).error).toEqual(refusedBy('PAYLOAD_BYTES_PER_USER', ['payload']));
    expect(await generations(small)).toEqual([1]);
    await remove(madeOf(made)[0] ?? '');
    expect((await update(small, large)).error).toEqual(refusedBy('PAYLOAD_BYTES_PER_USER', ['payload']));
    expect((await update(small, endpoint(1))).error).toBeUndefined();
  });

  test('old generations are removed, except those that a job still needs, which GENERATIONS_PER_WORKFLOW counts', async () => {
    const { id = '' } = await create(endpoint(1));
    for (const n of [2, 3, 4, 5]) await update(id, endpoint(n));
    expect(await generations(id)).toEqual([5]);

    await run(id); // this job waits with generation 5
    await update(id, endpoint(6));
    await run(id);
    await update(id, endpoint(7));
    expect(await generations(id)).toEqual([5, 6, 7]);
    await run(id);
    expect((await update(id, endpoint(8))).error).toEqual(refusedBy('GENERATIONS_PER_WORKFLOW', ['payload']));
    expect(await generations(id)).toEqual([5, 6, 7]);

    for (let ids = await schedule(api.db); ids.length > 0; ids = await schedule(api.db))
      for (const job of await claim(api.db, ids)) await end(api.db, job, { status: 'COMPLETED' });
    expect((await update(id, endpoint(8))).error).toBeUndefined();
    expect(await generations(id)).toEqual([8]);
    const { data } = await query(api, '{ jobs(first: 20) { nodes { generation workflow { id generation } } } }', {
      token: ann.token,
    });
    const shown = data.jobs.nodes.map((job: { generation: number }) => job.generation);
    expect(shown.sort()).toEqual([5, 6, 7, 7]);
    expect(data.jobs.nodes[0].workflow).toEqual({ id, generation: 8 });
  });

  test('a running job keeps its generation', async () => {
    const { id = '' } = await create(endpoint(1));
    const [job] = await claim(api.db, await schedule(api.db));
    await update(id, endpoint(2));
    await update(id, endpoint(3));
    expect(await generations(id)).toEqual([1, 3]);
    if (job === undefined) throw new Error('No job was dispatched.');
    await end(api.db, job, { status: 'COMPLETED' });
    await update(id, endpoint(4));
    expect(await generations(id)).toEqual([4]);
  });
});
