import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
  workflow { id generation payload } userErrors { code path message } } }`;
const NAMES = ['PATH_OF_SOMETHING_LONG', 'Z', '10', '2', 'é', 'MIDDLE', 'A', '02', '__proto__'];

let api: TestApi;
let ann: Person;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
});
afterAll(() => api.close());

function container(names: string[]): string {
  const env = names.map((name) => `${JSON.stringify(name)}:"v"`);
  return `{"kind":"CONTAINER","image":"alpine:3","env":{${env.join()}}}`;
}

async function create(payload: object) {
  const { workflow, userErrors } = await createWorkflow(api, ann, { payload }, 'id generation payload');
  expect(userErrors).toEqual([]);
  return workflow;
}

async function update(id: string, payload: object) {
  const { data } = await query(api, UPDATE, { token: ann.token, variables: { input: { id, payload } } });
  expect(data.updateWorkflow.userErrors).toEqual([]);
  return data.updateWorkflow.workflow;
}

describe('a payload', () => {
  test('returns its names in the order in which they were given', async () => {
    expect((await create({ json: container(NAMES) })).payload).toBe(container(NAMES));
    const env = NAMES.map((name) => ({ name, value: 'v' }));
    expect((await create({ container: { image: 'alpine:3', env } })).payload).toBe(container(NAMES));
    const headers = '{"X-Long-Header":"1","10":"2","A":{"secret":true},"2":"3"}';
    const heartbeat = `{"kind":"HEARTBEAT","endpoint":"http://a","headers":${headers}}`;
    const secret = heartbeat.replace('"secret":true', '"secret":true,"value":"correct horse"');
    expect((await create({ json: secret })).payload).toBe(heartbeat);
  });

  test('in another order makes no generation, and returns that order', async () => {
    const { id } = await create({ json: container(NAMES) });
    const reversed = container(NAMES.toReversed());
    expect(await update(id, { json: reversed })).toEqual({ id, generation: 1, payload: reversed });
    const added = container([...NAMES, 'B']);
    expect(await update(id, { json: added })).toEqual({ id, generation: 2, payload: added });
  });

  test('stored by an earlier version is readable, and takes the order of the next update', async () => {
    const { id } = await create({ json: container(['LONG', 'B', 'A']) });
    await api.db.execute(sql`UPDATE payloads SET payload = payload - 'order' WHERE workflow_id = ${id}`);
    const { data } = await query(api, `{ workflow(id: "${id}") { payload } }`, { token: ann.token });
    expect(data.workflow.payload).toBe(container(['A', 'B', 'LONG'])); // the order of jsonb
    const given = container(['LONG', 'B', 'A']);
    expect(await update(id, { json: given })).toEqual({ id, generation: 1, payload: given });
  });

  test('keeps its secrets when its order changes', async () => {
    const env = (names: string[], more: object) => names.map((name) => ({ name, secret: true, ...more }));
    const { id } = await create({ container: { image: 'a', env: env(['Z', '1', 'A'], { value: 'correct horse' }) } });
    const kept = await update(id, { container: { image: 'a', env: env(['A', 'Z', '1'], {}) } });
    expect(kept).toMatchObject({
      generation: 1,
      payload: expect.stringContaining('{"A":{"secret":true},"Z":{"secret":true},"1":{"secret":true}}'),
    });
  });
});
