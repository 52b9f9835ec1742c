import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { id generation buildStatus } userErrors { code path message } } }`;
const CONTAINER = {
  build: { dockerfile: 'FROM alpine:3\nCOPY run /run', files: [{ path: 'run', content: '#!/bin/sh\n' }] },
  volumes: [{ name: 'data', path: '/data', readOnly: true }],
  resources: { cpus: 0.5, memoryMb: 64, pids: 10 },
  network: 'NONE',
};

describe('a container with a build, volumes, resources and a network', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    api = await testApi({ maxResources: { cpus: 1, memoryMb: 128, pids: 50 } });
    ann = await person(api, 'ann');
    bob = await person(api, 'bob');
  });
  afterAll(() => api.close());

  const create = (container: object) => createWorkflow(api, ann, { payload: { container } }, 'id payload generation');

  test('is readable as a document, by its owner only', async () => {
    const { workflow, userErrors } = await create(CONTAINER);
    expect(userErrors).toEqual([]);
    expect(JSON.parse(workflow.payload)).toEqual({
      kind: 'CONTAINER',
      build: CONTAINER.build,
      volumes: [{ name: 'data', path: '/data', read_only: true }],
      resources: { cpus: 0.5, memory_mb: 64, pids: 10 },
      network: 'NONE',
    });
    const asked = `{ workflow(id: "${workflow.id}") { payload build { id } } }`;
    expect((await query(api, asked, { token: bob.token })).data).toEqual({ workflow: null });
  });

  test('queues no build if an update leaves it as it was, and makes a generation if a file changes', async () => {
    const { workflow } = await create(CONTAINER);
    const update = async (container: object) => {
      const variables = { input: { id: workflow.id, payload: { container } } };
      return (await query(api, UPDATE, { token: ann.token, variables })).data.updateWorkflow.workflow;
    };
    expect(await update({ ...CONTAINER })).toMatchObject({ generation: 1 });
    const build = { ...CONTAINER.build, files: [{ path: 'run', content: '#!/bin/sh\necho other\n' }] };
    expect(await update({ ...CONTAINER, build })).toMatchObject({ generation: 2, buildStatus: 'QUEUED' });
  });

  test('may request what the operator allows, and no more', async () => {
    const { userErrors } = await create({ ...CONTAINER, resources: { memoryMb: 129 } });
    expect(userErrors).toMatchObject([
      {
        code: 'INVALID',
        path: ['payload', 'container', 'resources', 'memoryMb'],
        message: 'The memory must be 6 to 128 MB.',
      },
    ]);
  });
});

describe('where the operator allows neither builds nor outbound networks', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi({ policy: { networks: ['NONE'], buildsAllowed: false } });
    ann = await person(api, 'ann');
  });
  afterAll(() => api.close());

  const create = (payload: object) => createWorkflow(api, ann, { payload }, 'id payload generation');

  test('a payload that requests them is INVALID, and the message names the setting', async () => {
    const { userErrors } = await create({ container: { ...CONTAINER, network: 'BRIDGE' } });
    expect(userErrors).toEqual([
      {
        code: 'INVALID',
        path: ['payload', 'container', 'network'],
        message: expect.stringMatching(/BRIDGE is not allowed .*CONTAINER_NETWORKS.*NONE/),
      },
      { code: 'INVALID', path: ['payload', 'container', 'build'], message: expect.stringContaining('BUILDS_ALLOWED') },
    ]);
    const json = JSON.stringify({ kind: 'CONTAINER', image: 'alpine:3', network: 'BRIDGE' });
    expect((await create({ json })).userErrors).toMatchObject([
      { code: 'INVALID', path: ['payload', 'json', 'network'] },
    ]);
    expect((await create({ container: { image: 'alpine:3', network: 'NONE' } })).userErrors).toEqual([]);
    const plain = await create({ container: { image: 'alpine:3' } });
    expect(plain.userErrors).toEqual([]);
    const input = { id: plain.workflow.id, payload: { container: { image: 'alpine:3', network: 'BRIDGE' } } };
    const { updateWorkflow } = (await query(api, UPDATE, { token: ann.token, variables: { input } })).data;
    expect(updateWorkflow.userErrors).toMatchObject([{ code: 'INVALID' }]);
  });
});
