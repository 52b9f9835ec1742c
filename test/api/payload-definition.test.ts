import { isInputObjectType, isObjectType, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { operationCost } from '../../api/graphql/cost.ts';
import { LONG_TEXT_COST } from '../../api/schema/cost.ts';
import { schema } from '../../api/schema/schema.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const SECRET = 'correct horse battery staple';
const HEARTBEAT_FIELDS = `endpoint method headers { name value secret } body expectedStatus bodyContains timeoutSeconds
  followRedirects minTlsDaysLeft expectedStatusRanges bodyNotContains maxRedirects headersOnly
  dnsRecordType dnsExpectedValues dnsServer tcpSend tcpExpect bodyMatches bodyJson { path value } websocket
  httpVersion`;
const CONTAINER_FIELDS = `image build { dockerfile files { path content } } command args env { name value secret } workingDir
  timeoutSeconds volumes { name path readOnly } resources { cpus memoryMb pids } network registryAuth { username }`;
const DEFINITION = `definition { __typename
  ... on HeartbeatDefinition { ${HEARTBEAT_FIELDS} } ... on ContainerDefinition { ${CONTAINER_FIELDS} } }`
  .replace('timeoutSeconds', 'checkSeconds: timeoutSeconds') // a Float in one, an Int in the other
  .replaceAll(/\s+/g, ' ');

let api: TestApi;
let ann: Person;
let bob: Person;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
  bob = await person(api, 'bob');
});
afterAll(() => api.close());

async function created(payload: object) {
  const { workflow, userErrors } = await createWorkflow(api, ann, { payload }, `id payload ${DEFINITION}`);
  expect(userErrors).toEqual([]);
  return workflow;
}

describe('the definition of a workflow', () => {
  test('returns all of a heartbeat as it was given', async () => {
    const heartbeat = {
      endpoint: 'https://example.com',
      method: 'POST',
      headers: [
        { name: 'X-Longer', value: '日本' },
        { name: '10', value: '2' },
        { name: 'A', value: SECRET, secret: true },
      ],
      body: 'b',
      expectedStatus: [200, 204],
      bodyContains: 'ok',
      timeoutSeconds: 0.5,
      followRedirects: true,
      minTlsDaysLeft: 0,
      expectedStatusRanges: ['3xx', '200-299'],
      bodyNotContains: 'größer',
      maxRedirects: 20,
      headersOnly: false,
      bodyMatches: 'a+|b',
      bodyJson: { path: '$.status', value: 'ok' },
      websocket: false,
      httpVersion: 'HTTP_1_1',
    };
    const { definition } = await created({ heartbeat });
    const { timeoutSeconds, ...rest } = heartbeat;
    expect(definition).toEqual({
      __typename: 'HeartbeatDefinition',
      ...rest,
      checkSeconds: timeoutSeconds,
      ...{ dnsRecordType: null, dnsExpectedValues: null, dnsServer: null, tcpSend: null, tcpExpect: null },
      headers: [
        { name: 'X-Longer', value: '日本', secret: false },
        { name: '10', value: '2', secret: false },
        { name: 'A', value: null, secret: true },
      ],
    });
  });

  test('returns all of a check of DNS records and of one over TCP as they were given', async () => {
    const records = {
      endpoint: 'dns://example.com',
      dnsRecordType: 'MX',
      dnsExpectedValues: ['10 mail.example.com'],
      dnsServer: '[2001:db8::53]:5353',
    };
    expect((await created({ heartbeat: records })).definition).toMatchObject(records);
    const talk = { endpoint: 'tcp://example.com:6379', tcpSend: 'PING\r\n', tcpExpect: '+PONG' };
    const workflow = await created({ heartbeat: talk });
    expect(workflow.definition).toMatchObject(talk);
    expect(workflow.payload).toBe(
      '{"kind":"HEARTBEAT","endpoint":"tcp://example.com:6379","tcp_send":"PING\\r\\n","tcp_expect":"+PONG"}',
    );
  });

  test('returns all of a container as it was given', async () => {
    const container = {
      image: 'ghcr.io/a/b:1',
      command: ['sh', '-c'],
      args: ['true'],
      env: [
        { name: 'LONGER', value: '' },
        { name: '__proto__', value: 'x' },
        { name: '2', value: SECRET, secret: true },
      ],
      workingDir: '/app',
      timeoutSeconds: 60,
      volumes: [
        { name: 'v', path: '/v', readOnly: true },
        { name: 'w', path: '/w' },
      ],
      resources: { cpus: 0.5, memoryMb: 64 },
      network: 'NONE',
      registryAuth: { username: 'ann', password: SECRET },
    };
    const workflow = await created({ container });
    expect(workflow.definition).toEqual({
      __typename: 'ContainerDefinition',
      ...container,
      build: null,
      env: [
        { name: 'LONGER', value: '', secret: false },
        { name: '__proto__', value: 'x', secret: false },
        { name: '2', value: null, secret: true },
      ],
      volumes: [
        { name: 'v', path: '/v', readOnly: true },
        { name: 'w', path: '/w', readOnly: false },
      ],
      resources: { cpus: 0.5, memoryMb: 64, pids: null },
      registryAuth: { username: 'ann' },
    });
    expect(JSON.stringify(workflow)).not.toMatch(new RegExp(`${SECRET}|sealed`));
  });

  test('returns a build with its files, and null for everything that is not set', async () => {
    const build = { dockerfile: 'FROM alpine:3\nCOPY a /a', files: [{ path: 'a', content: 'text' }] };
    expect((await created({ container: { build } })).definition).toMatchObject({ image: null, build, env: null });
    const { __typename, ...bare } = (await created({ heartbeat: {} })).definition;
    expect(new Set(Object.values(bare))).toEqual(new Set([null]));
    const bareBuild = await created({ container: { build: { dockerfile: 'FROM alpine:3' } } });
    expect(bareBuild.definition.build.files).toBeNull();
  });

  test('is readable only by its owner, and after a deletion as the payload is', async () => {
    const { id, payload, definition } = await created({ heartbeat: { endpoint: 'tcp://example.com:1' } });
    const asked = `{ workflow(id: "${id}") { payload ${DEFINITION} } node(id: "${id}") { ... on Workflow { ${DEFINITION} } } }`;
    expect((await query(api, asked, { token: bob.token })).data).toEqual({ workflow: null, node: null });
    const remove = `mutation { deleteWorkflow(input: { id: "${id}" }) { userErrors { code } } }`;
    await query(api, remove, { token: ann.token });
    const { data } = await query(api, asked, { token: ann.token });
    expect(data).toEqual({ workflow: { payload, definition }, node: { definition } });
  });

  test('costs as much as a long text, and its lists cost what they may hold', () => {
    const costOf = (document: string) => operationCost({ schema, document: parse(document) });
    const bare = costOf('{ workflow(id: 1) { id } }');
    const withTypename = costOf('{ workflow(id: 1) { id definition { __typename } } }');
    expect(withTypename - bare).toBe(LONG_TEXT_COST + 1);
    const names = costOf('{ workflow(id: 1) { id definition { ... on ContainerDefinition { env { name } } } } }');
    expect(names - bare).toBeGreaterThanOrEqual(LONG_TEXT_COST + 100);
    // A page of the default size.
    expect(costOf(`{ workflows { nodes { ${DEFINITION} } } }`)).toBeLessThan(50_000);
  });

  test.each([
    ['HeartbeatInput', 'HeartbeatDefinition'],
    ['ContainerInput', 'ContainerDefinition'],
  ])('has the fields of %s, each of the same scalar or of its own type', (inputName, definitionName) => {
    const [input, definition] = [schema.getType(inputName), schema.getType(definitionName)];
    if (!isInputObjectType(input) || !isObjectType(definition)) throw new Error('They are missing.');
    const typeOf = (type: { toString(): string }) => String(type).replace(/(Input|Definition)(?=\W*$)/, '');
    const read = Object.values(definition.getFields()).map(({ name, type }) => [name, typeOf(type)]);
    expect(read).toEqual(Object.values(input.getFields()).map(({ name, type }) => [name, typeOf(type)]));
  });
});
