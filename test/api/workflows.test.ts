import { describe, expect, test } from 'vitest';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { CANCEL_CHANNEL, decodeChanged, SCHEDULE_CHANNEL, userChannel } from '../../domain/hints.ts';
import { codes, createWorkflow, type Person, query, type TestApi, withAnnAndBob } from './support.ts';

const FIELDS = `id name kind payload interval maxConsecutiveJobFailuresAllowed consecutiveJobFailuresCount buildStatus generation
    nextRunAt terminatedAt build { id status generation workflow { id } logs { nodes { text } } } latestJob { id } userId`;
const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { id name payload interval generation buildStatus } userErrors { code path message } } }`;
const HEARTBEAT = { name: 'Self check', payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 3 };
const CONTAINER = {
  ...HEARTBEAT,
  name: 'Hello',
  payload: { container: { image: 'alpine:3', env: [{ name: 'A', value: '1' }] } },
};

describe('a workflow', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  withAnnAndBob((made) => {
    ({ api, ann, bob } = made);
  });

  const create = (input: object) => createWorkflow(api, ann, input, FIELDS);
  const act = async (name: string, id: string, fields = 'userErrors { code path }', token = ann.token) => {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
    const { data } = await query(api, `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} } }`, {
      token,
      variables: { input: { id } },
    });
    return data[name];
  };

  test('of kind HEARTBEAT is ready at once, and scheduling gets a hint', async () => {
    const hints: string[] = [];
    const unsubscribe = await api.cache.subscribe(SCHEDULE_CHANNEL, () => hints.push('schedule'));
    const { workflow, userErrors } = await create(HEARTBEAT);
    expect(userErrors).toEqual([]);
    expect(workflow).toMatchObject({
      name: 'Self check',
      kind: 'HEARTBEAT',
      payload: '{"kind":"HEARTBEAT"}',
      interval: 1,
      buildStatus: 'COMPLETED',
      build: null,
      latestJob: null,
      generation: 1,
      userId: ann.id,
      terminatedAt: null,
    });
    expect(Date.parse(workflow.nextRunAt)).toBeLessThanOrEqual(Date.now() + 1_000);
    await expect.poll(() => hints).toEqual(['schedule']);
    unsubscribe();
  });

  test('of kind CONTAINER waits for its build, and the workers receive the build', async () => {
    const events: string[] = [];
    const consumer = await api.bus.consume({
      topic: 'workflows',
      group: 'test',
      concurrency: 1,
      onBatch: async (messages) => {
        events.push(...messages.map(String));
      },
    });
    const { workflow } = await create(CONTAINER);
    expect(workflow).toMatchObject({
      kind: 'CONTAINER',
      payload: '{"kind":"CONTAINER","image":"alpine:3","env":{"A":"1"}}',
      buildStatus: 'QUEUED',
      nextRunAt: null,
      build: { status: 'QUEUED', generation: 1, workflow: { id: workflow.id }, logs: { nodes: [] } },
    });
    await expect
      .poll(() => events.map((event) => JSON.parse(event)))
      .toEqual([{ type: 'BUILDS_QUEUED', ids: [workflow.build.id] }]);
    await consumer.close();
    expect(await act('runWorkflow', workflow.id)).toEqual({ userErrors: [{ code: 'NOT_READY', path: ['id'] }] });
  });

  test('is updated only in the given fields, and a new payload makes a new generation', async () => {
    const { workflow } = await create(CONTAINER);
    const update = async (input: object) =>
      (await query(api, UPDATE, { token: ann.token, variables: { input: { id: workflow.id, ...input } } })).data
        .updateWorkflow;
    expect((await update({ name: 'Other', interval: 5 })).workflow).toMatchObject({
      name: 'Other',
      interval: 5,
      generation: 1,
    });
    expect((await update({ payload: { container: { image: 'alpine:4' } } })).workflow).toMatchObject({
      generation: 2,
      name: 'Other',
      payload: '{"kind":"CONTAINER","image":"alpine:4"}',
    });
    expect((await update({ payload: { heartbeat: {} } })).userErrors).toMatchObject([
      { code: 'CONFLICT', path: ['payload'] },
    ]);
    expect((await update({ interval: 0 })).userErrors).toMatchObject([{ code: 'INVALID', path: ['interval'] }]);
    await act('terminateWorkflow', workflow.id);
    expect((await update({ name: 'Late' })).userErrors).toMatchObject([{ code: 'TERMINATED', path: ['id'] }]);
  });

  test('whose build FAILED says so when it should run, and is built again by an update with the same payload', async () => {
    const { workflow } = await create(CONTAINER);
    const run = async () =>
      (await act('runWorkflow', workflow.id, 'userErrors { code message }')).userErrors as { message: string }[];
    expect(await run()).toMatchObject([{ code: 'NOT_READY', message: expect.stringContaining('and is QUEUED now') }]);
    const { claimed } = await claimBuilds(api.db, [workflow.build.id], { owner: 'test' });
    const build = { id: workflow.build.id, workflowId: workflow.id, leaseToken: claimed[0]?.leaseToken ?? '' };
    await endBuild(api.db, { ...build, logLineCount: 0, status: 'FAILED', error: 'No Docker engine answers.' });
    const message = expect.stringMatching(/FAILED: No Docker engine answers\. rebuildWorkflow builds it again/);
    expect(await run()).toEqual([{ code: 'NOT_READY', message }]);
    const update = async (input: object) =>
      (await query(api, UPDATE, { token: ann.token, variables: { input: { id: workflow.id, ...input } } })).data
        .updateWorkflow.workflow;
    expect(await update({ name: 'Other' })).toMatchObject({ generation: 1, buildStatus: 'FAILED' });
    const again = { generation: 2, buildStatus: 'QUEUED' };
    expect(await update({ payload: CONTAINER.payload })).toMatchObject(again);
    // The newest build has not FAILED.
    expect(await update({ payload: CONTAINER.payload })).toMatchObject(again);
  });

  test('may keep its log lines for a shorter time, which needs no new build', async () => {
    const keeping = async (name: string, input: object) => {
      const document = `mutation ($input: ${name === 'createWorkflow' ? 'Create' : 'Update'}WorkflowInput!) {
        made: ${name}(input: $input) { workflow { id logRetentionDays generation buildStatus } userErrors { code path message } } }`;
      return (await query(api, document, { token: ann.token, variables: { input } })).data.made;
    };
    const { workflow } = await keeping('createWorkflow', { ...CONTAINER, logRetentionDays: 7 });
    expect(workflow).toMatchObject({ logRetentionDays: 7, generation: 1 });
    const { id } = workflow;
    const same = { generation: 1, buildStatus: workflow.buildStatus };
    const update = async (input: object) => (await keeping('updateWorkflow', { id, ...input })).workflow;
    expect(await update({ logRetentionDays: 30 })).toMatchObject({ logRetentionDays: 30, ...same });
    expect(await update({ name: 'another' })).toMatchObject({ logRetentionDays: 30, ...same });
    expect(await update({ logRetentionDays: null })).toMatchObject({ logRetentionDays: null, ...same });
    for (const logRetentionDays of [0, 31]) {
      const message = `The log retention must be 1 to 30 days, not ${logRetentionDays}.`;
      const refused = { workflow: null, userErrors: [{ code: 'INVALID', path: ['logRetentionDays'], message }] };
      expect(await keeping('createWorkflow', { ...CONTAINER, logRetentionDays })).toEqual(refused);
      expect(await keeping('updateWorkflow', { id, logRetentionDays })).toEqual(refused);
    }
    const { workflow: usual } = await keeping('createWorkflow', HEARTBEAT);
    expect(usual.logRetentionDays).toBeNull();
  });

  test('is run on request and its job is canceled, with hints for subscribers and workers', async () => {
    const { workflow } = await create(HEARTBEAT);
    const changed: unknown[] = [];
    const unsubscribe = await api.cache.subscribe(userChannel(ann.id), (message) =>
      changed.push(decodeChanged(message)),
    );
    const { job } = await act(
      'runWorkflow',
      workflow.id,
      'job { id status trigger workflow { id } logLineCount logs { nodes { text } } } userErrors { code }',
    );
    expect(job).toMatchObject({ status: 'PENDING', trigger: 'MANUAL', workflow: { id: workflow.id }, logLineCount: 0 });
    await expect.poll(() => changed).toEqual([{ jobs: [job.id] }]);
    unsubscribe();
    expect((await act('cancelJob', job.id, 'job { status completedAt } userErrors { code }')).job.status).toBe(
      'CANCELED',
    );
    expect(await act('cancelJob', job.id)).toEqual({ userErrors: [{ code: 'CONFLICT', path: ['id'] }] });
  });

  test('is terminated for good, disappears from lists when deleted, and stays readable by id', async () => {
    const cancels: string[] = [];
    const unsubscribe = await api.cache.subscribe(CANCEL_CHANNEL, (message) => cancels.push(message));
    const { workflow } = await create(CONTAINER);
    const ended = await act(
      'terminateWorkflow',
      workflow.id,
      'workflow { terminationReason buildStatus terminatedAt nextRunAt } userErrors { code }',
    );
    expect(ended.workflow).toMatchObject({ terminationReason: 'REQUESTED', buildStatus: 'CANCELED', nextRunAt: null });
    expect((await act('terminateWorkflow', workflow.id, 'workflow { terminatedAt }')).workflow.terminatedAt).toBe(
      ended.workflow.terminatedAt,
    );
    await expect.poll(() => cancels).toEqual([JSON.stringify([workflow.build.id])]);
    unsubscribe();
    expect(await act('runWorkflow', workflow.id)).toEqual({ userErrors: [{ code: 'TERMINATED', path: ['id'] }] });

    const gone = await act('deleteWorkflow', workflow.id, 'deletedWorkflowId workflow { deletedAt terminationReason }');
    expect(gone).toMatchObject({ deletedWorkflowId: workflow.id, workflow: { terminationReason: 'REQUESTED' } });
    const list = (filter: string) =>
      query(api, `{ workflows(first: 100, filter: ${filter}) { nodes { id } } }`, { token: ann.token });
    const has = async (filter: string) =>
      (await list(filter)).data.workflows.nodes.some(({ id }: { id: string }) => id === workflow.id);
    expect([await has('{}'), await has('{ deleted: true }')]).toEqual([false, true]);
    const byId = await query(
      api,
      '($id: ID!) { workflow(id: $id) { deletedAt } node(id: $id) { __typename id } }'.replace('(', 'query ('),
      {
        token: ann.token,
        variables: { id: workflow.id },
      },
    );
    expect(byId.data.workflow.deletedAt).toBe(gone.workflow.deletedAt);
    expect(byId.data.node).toEqual({ __typename: 'Workflow', id: workflow.id });
  });

  test('P6: is invisible to Bob: by id, in lists, as a node, through its jobs and builds, and in any change', async () => {
    const { workflow } = await create(CONTAINER);
    const heartbeat = (await create(HEARTBEAT)).workflow;
    const { job } = await act('runWorkflow', heartbeat.id, 'job { id }');
    const asBob = (document: string, variables: object = {}) => query(api, document, { token: bob.token, variables });
    const seen = await asBob(
      `query ($workflow: ID!, $job: ID!, $build: ID!, $ann: ID!) {
        workflow(id: $workflow) { id } job(id: $job) { id }
        a: node(id: $workflow) { id } b: node(id: $job) { id } c: node(id: $build) { id } d: node(id: $ann) { id }
        workflows { nodes { id } pageInfo { startCursor hasNextPage } } jobs { nodes { id } }
        ofWorkflow: jobs(filter: { workflowId: $workflow }) { nodes { id } } }`,
      { workflow: workflow.id, job: job.id, build: workflow.build.id, ann: ann.id },
    );
    expect(seen.errors).toBeUndefined();
    expect(seen.data).toEqual({
      workflow: null,
      job: null,
      a: null,
      b: null,
      c: null,
      d: null,
      workflows: { nodes: [], pageInfo: { startCursor: null, hasNextPage: false } },
      jobs: { nodes: [] },
      ofWorkflow: { nodes: [] },
    });
    for (const name of ['terminateWorkflow', 'deleteWorkflow', 'runWorkflow', 'updateWorkflow']) {
      expect(await act(name, workflow.id, undefined, bob.token)).toEqual({
        userErrors: [{ code: 'NOT_FOUND', path: ['id'] }],
      });
      expect(await act(name, 'malformed', undefined, bob.token)).toEqual({
        userErrors: [{ code: 'NOT_FOUND', path: ['id'] }],
      });
    }
    expect(await act('cancelJob', job.id, undefined, bob.token)).toEqual({
      userErrors: [{ code: 'NOT_FOUND', path: ['id'] }],
    });
    const after = await query(api, 'query ($id: ID!) { workflow(id: $id) { terminatedAt deletedAt name } }', {
      token: ann.token,
      variables: { id: workflow.id },
    });
    expect(after.data.workflow).toEqual({ terminatedAt: null, deletedAt: null, name: 'Hello' });
  });

  test('P6: cannot be read or changed without a token, by any field', async () => {
    const id = '00000000-0000-7000-8000-000000000000';
    const fields = [
      `query { node(id: "${id}") { id } }`,
      `query { workflow(id: "${id}") { id } }`,
      'query { workflows { nodes { id } } }',
      `query { job(id: "${id}") { id } }`,
      'query { jobs { nodes { id } } }',
      'mutation { createApiToken(input: { name: "a" }) { secret } }',
      `mutation { revokeApiToken(input: { id: "${id}" }) { userErrors { code } } }`,
      'mutation { signOut { userErrors { code } } }',
      'mutation { createWorkflow(input: { name: "a", payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 }) { userErrors { code } } }',
      ...['updateWorkflow', 'terminateWorkflow', 'deleteWorkflow', 'runWorkflow', 'cancelJob'].map(
        (name) => `mutation { ${name}(input: { id: "${id}" }) { userErrors { code } } }`,
      ),
    ];
    for (const field of fields) expect([field, codes(await query(api, field))]).toEqual([field, ['UNAUTHENTICATED']]);
    for (const part of ['version', 'database', 'bus', 'cache', 'docker']) {
      const answer = await query(api, `{ system { ${part} } }`);
      expect([part, answer.data ?? null, codes(answer)]).toEqual([part, null, ['UNAUTHENTICATED']]);
    }
    expect((await query(api, '{ viewer { id } system { __typename } }')).data).toMatchObject({ viewer: null });
    const all = '{ system { version database bus cache docker } }';
    expect((await query(api, all, { token: ann.token })).data.system).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      database: 'EMBEDDED',
      bus: 'EMBEDDED',
      cache: 'EMBEDDED',
      docker: 'ABSENT',
    });
  });
});
