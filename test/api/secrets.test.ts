import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, person, query, type TestApi, testApi } from './support.ts';

const FIELDS = 'workflow { id generation payload build { generation } } userErrors { code message path }';
const CREATE = `mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { ${FIELDS} } }`;
const UPDATE = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { ${FIELDS} } }`;
const SECRET = 'correct horse battery staple';

let api: TestApi;
let ann: Person;
let bob: Person;
beforeAll(async () => {
  api = await testApi();
  ann = await person(api, 'ann');
  bob = await person(api, 'bob');
});
afterAll(() => api.close());

async function create(payload: object) {
  const input = { name: 'a', payload, interval: 1, maxConsecutiveJobFailuresAllowed: 1 };
  const { data } = await query(api, CREATE, { token: ann.token, variables: { input } });
  return data.createWorkflow;
}

async function update(id: string, payload: object, token = ann.token) {
  const { data } = await query(api, UPDATE, { token, variables: { input: { id, payload } } });
  return data.updateWorkflow;
}

const container = (env: object[], more: object = {}) => ({ container: { image: 'alpine:3', env, ...more } });
const document = (payload: object) => ({ json: JSON.stringify(payload) });

/** Everything that the database holds of the payloads, as text. */
async function stored(): Promise<string> {
  return JSON.stringify(await api.db.execute(sql`SELECT * FROM payloads`));
}

describe('a secret', () => {
  test('P8: is never readable nor stored in plain text, in any field that may hold one', async () => {
    const made = [
      await create(container([{ name: 'A', value: SECRET, secret: true }])),
      await create({ heartbeat: { endpoint: 'http://a', headers: [{ name: 'X-Key', value: SECRET, secret: true }] } }),
      await create(container([], { registryAuth: { username: 'ann', password: SECRET } })),
      await create({
        heartbeat: {
          endpoint: 'http://a',
          proxy: 'http://proxy:3128',
          proxyAuth: { username: 'ann', password: SECRET },
        },
      }),
    ];
    expect(made.map(({ workflow }) => workflow.payload)).toEqual([
      '{"kind":"CONTAINER","image":"alpine:3","env":{"A":{"secret":true}}}',
      '{"kind":"HEARTBEAT","endpoint":"http://a","headers":{"X-Key":{"secret":true}}}',
      '{"kind":"CONTAINER","image":"alpine:3","registry_auth":{"password":{"secret":true},"username":"ann"}}',
      '{"kind":"HEARTBEAT","endpoint":"http://a","proxy":"http://proxy:3128","proxy_auth":{"password":{"secret":true},"username":"ann"}}',
    ]);
    expect(await stored()).not.toContain(SECRET);
    expect(await stored()).toMatch(/"sealed": ?"s1\./);
  });

  test('is kept by an update without a value: sending back the document that was read changes nothing', async () => {
    const { workflow } = await create(
      container([{ name: 'A', value: SECRET, secret: true }], { registryAuth: { username: 'ann', password: SECRET } }),
    );
    const same = await update(workflow.id, { json: workflow.payload });
    expect(same).toEqual({ workflow, userErrors: [] });
    const typed = await update(
      workflow.id,
      container([{ name: 'A', secret: true }], { registryAuth: { username: 'ann', password: SECRET } }),
    );
    expect(typed.workflow.generation).toBe(1);
  });

  test('given again with the same value changes nothing; another value makes a generation', async () => {
    const { workflow } = await create(container([{ name: 'A', value: SECRET, secret: true }]));
    const again = await update(workflow.id, container([{ name: 'A', value: SECRET, secret: true }]));
    expect(again.workflow.generation).toBe(1);
    const other = await update(workflow.id, container([{ name: 'A', value: `${SECRET}!`, secret: true }]));
    expect(other.workflow).toMatchObject({ generation: 2, build: { generation: 2 }, payload: workflow.payload });
    const plain = await update(workflow.id, container([{ name: 'A', value: 'open' }]));
    expect(plain.workflow.payload).toContain('"env":{"A":"open"}');
  });

  test('is kept during other changes, and that of a header whatever its case', async () => {
    const headers = [{ name: 'X-Key', value: SECRET, secret: true }];
    const { workflow } = await create({ heartbeat: { endpoint: 'http://a', headers } });
    const changed = await update(
      workflow.id,
      document({ kind: 'HEARTBEAT', endpoint: 'http://A:80/b?c', headers: { 'x-key': { secret: true } } }),
    );
    expect(changed.workflow).toMatchObject({
      generation: 2,
      payload: '{"kind":"HEARTBEAT","endpoint":"http://A:80/b?c","headers":{"x-key":{"secret":true}}}',
    });
  });

  const key = { name: 'KEY', secret: true };
  const known = { name: 'KEY', secret: true, value: SECRET };
  const heartbeat = (endpoint: string, headers: object[], more: object = {}) => ({
    heartbeat: { endpoint, headers, ...more },
  });
  const image = (name: string, more: object) => ({ container: { image: name, ...more } });
  const build = (dockerfile: string, more: object) => ({ container: { build: { dockerfile }, ...more } });
  const login = (password: string | undefined, username = 'ann') =>
    JSON.stringify({ username, password: { secret: true, value: password } });
  const loggedIn = (what: object, auth: string) =>
    document({ kind: 'CONTAINER', ...what, registry_auth: JSON.parse(auth) });
  const AT_HEADER = ['heartbeat', 'headers', '0', 'value'];
  const AT_ENV = ['container', 'env', '0', 'value'];
  const AT_LOGIN = ['json', 'registry_auth', 'password'];

  test.each<[string, object, object, string[]]>([
    ['another host', heartbeat('https://a', [known]), heartbeat('https://b', [key]), AT_HEADER],
    ['another port', heartbeat('https://a', [known]), heartbeat('https://a:444', [key]), AT_HEADER],
    ['no TLS', heartbeat('https://a', [known]), heartbeat('http://a', [key]), AT_HEADER],
    ['another place', heartbeat('https://a', [known]), heartbeat('https://a', [key], { connectTo: 'b:1' }), AT_HEADER],
    ['a proxy', heartbeat('https://a', [known]), heartbeat('https://a', [key], { proxy: 'http://b:1' }), AT_HEADER],
    ['another Host', heartbeat('http://a', [known]), heartbeat('http://a', [key], { hostHeader: 'b' }), AT_HEADER],
    ['another name', heartbeat('https://a', [known]), heartbeat('https://a', [key], { tlsServerName: 'b' }), AT_HEADER],
    [
      'no verification',
      heartbeat('https://a', [known]),
      heartbeat('https://a', [key], { tlsVerify: false }),
      AT_HEADER,
    ],
    [
      'a login to another proxy',
      document({ kind: 'HEARTBEAT', endpoint: 'http://a', proxy: 'http://b:1', proxy_auth: JSON.parse(login(SECRET)) }),
      document({
        kind: 'HEARTBEAT',
        endpoint: 'http://a',
        proxy: 'http://c:1',
        proxy_auth: JSON.parse(login(undefined)),
      }),
      ['json', 'proxy_auth', 'password'],
    ],
    ['another image', image('alpine:3', { env: [known] }), image('evil/alpine:3', { env: [key] }), AT_ENV],
    ['another registry', image('r.example/a', { env: [known] }), image('s.example/a', { env: [key] }), AT_ENV],
    ['a build from it', image('alpine:3', { env: [known] }), build('FROM evil/a', { env: [key] }), AT_ENV],
    ['no base at all', build('FROM a:1', { env: [known] }), build('FROM scratch', { env: [key] }), AT_ENV],
    ['another base', build('FROM a:1', { env: [known] }), build('FROM b:1', { env: [key] }), AT_ENV],
    [
      'a copy from it',
      build('FROM a:1', { env: [known] }),
      build('FROM a:1\nCOPY --from=b:1 / /', { env: [key] }),
      AT_ENV,
    ],
    [
      'a login elsewhere',
      loggedIn({ image: 'r.example/a' }, login(SECRET)),
      loggedIn({ image: 's.example/a' }, login(undefined)),
      AT_LOGIN,
    ],
    [
      'a login of another user',
      loggedIn({ image: 'r.example/a' }, login(SECRET)),
      loggedIn({ image: 'r.example/a' }, login(undefined, 'bob')),
      AT_LOGIN,
    ],
    [
      'a login of a build elsewhere',
      loggedIn({ image: 'r.example/a' }, login(SECRET)),
      loggedIn({ build: { dockerfile: 'FROM s.example/a\nCOPY --from=r.example/a / /' } }, login(undefined)),
      AT_LOGIN,
    ],
  ])('P6: is not kept for %s: it must be given again', async (_, before, after, path) => {
    const { workflow } = await create(before);
    const { userErrors } = await update(workflow.id, after);
    expect(userErrors).toEqual([
      {
        code: 'INVALID',
        message: expect.stringMatching(/is kept only for .* give it a value again/),
        path: ['payload', ...path],
      },
    ]);
    const given = JSON.parse(JSON.stringify(after), (_name, value) =>
      value?.secret === true ? { ...value, value: 'new one' } : value,
    );
    const again =
      typeof given.json === 'string'
        ? { json: given.json.replace('"secret":true', '"secret":true,"value":"new one"') }
        : given;
    expect((await update(workflow.id, again)).workflow.generation).toBe(2);
  });

  test.each<[string, object, object]>([
    [
      'another tag, command and network',
      image('alpine:3', { env: [known] }),
      image('docker.io/alpine:4', { env: [key], command: ['a'], network: 'NONE' }),
    ],
    ['a build of it', image('a:1', { env: [known] }), build('FROM a:2\nRUN true', { env: [key] })],
    ['fewer images', build('FROM a:1\nCOPY --from=b:1 / /', { env: [known] }), image('a:2', { env: [key] })],
    [
      'another image of the registry',
      loggedIn({ image: 'r.example/a' }, login(SECRET)),
      loggedIn({ image: 'R.example/b:1' }, login(undefined)),
    ],
    [
      'another method',
      heartbeat('https://a', [known]),
      { heartbeat: { endpoint: 'https://a:443/x', method: 'HEAD', headers: [key] } },
    ],
  ])('is kept for %s', async (_, before, after) => {
    const { workflow } = await create(before);
    expect(await update(workflow.id, after)).toMatchObject({ workflow: { generation: 2 }, userErrors: [] });
  });

  test.each([
    [
      'typed',
      container([
        { name: 'B', value: 'b' },
        { name: 'A', secret: true },
      ]),
      ['container', 'env', '1', 'value'],
    ],
    ['a document', document({ kind: 'CONTAINER', image: 'a', env: { A: { secret: true } } }), ['json', 'env', 'A']],
    [
      'a login',
      document({ kind: 'CONTAINER', image: 'a', registry_auth: { username: 'u', password: { secret: true } } }),
      ['json', 'registry_auth', 'password'],
    ],
    [
      'a header',
      { heartbeat: { endpoint: 'http://a', headers: [{ name: 'A', secret: true }] } },
      ['heartbeat', 'headers', '0', 'value'],
    ],
  ])('without a value, and with none to keep, is INVALID: %s', async (_, payload, path) => {
    const before = await stored();
    const expected = [
      { code: 'INVALID', message: expect.stringContaining('give it a value'), path: ['payload', ...path] },
    ];
    expect(await create(payload)).toEqual({ workflow: null, userErrors: expected });
    expect(await stored()).toBe(before);
    const { workflow } = await create(
      path[0] === 'heartbeat' ? { heartbeat: {} } : container([{ name: 'B', value: 'b' }]),
    );
    if (path[0] !== 'json' || path[1] === 'env')
      expect(await update(workflow.id, payload)).toEqual({ workflow: null, userErrors: expected });
  });

  test.each<[object, string[], string]>([
    [{ env: { A: { secret: false, value: 'a' } } }, ['env', 'A'], 'must be text, or {"secret": true'],
    [{ env: { A: { secret: true, value: 1 } } }, ['env', 'A'], 'must be text'],
    [{ env: { A: { secret: true, valeu: SECRET } } }, ['env', 'A'], 'must be text'],
    [{ env: { A: { secret: true, value: 'a\0' } } }, ['env', 'A'], 'NUL'],
    [{ env: { A: { sealed: 's1.x.y', secret: true } } }, ['env', 'A'], 'must be text'],
    [{ registry_auth: 'ann' }, ['registry_auth'], 'must be an object'],
    [{ registry_auth: { username: 'ann' } }, ['registry_auth', 'password'], 'missing'],
    [{ registry_auth: { username: '', password: 'x' } }, ['registry_auth', 'username'], 'not be empty'],
    [{ registry_auth: { username: 'a', password: 'x', pasword: '' } }, ['registry_auth', 'pasword'], 'not a key'],
    [{ registry_auth: { username: 'a', password: 'x'.repeat(20_000) } }, ['registry_auth', 'password'], 'at most'],
  ])('in an invalid document is refused at its path and not shown: %j', async (more, path, sentence) => {
    const { workflow, userErrors } = await create(document({ kind: 'CONTAINER', image: 'a', ...more }));
    expect(workflow).toBeNull();
    expect(userErrors).toEqual([
      { code: 'INVALID', message: expect.stringContaining(sentence), path: ['payload', 'json', ...path] },
    ]);
    expect(JSON.stringify(userErrors)).not.toContain(SECRET);
  });

  test('in a document that is not JSON is not quoted', async () => {
    const { userErrors } = await create({ json: `{"env":{"A": ${SECRET}}}` });
    expect(userErrors[0].message).toContain('valid JSON');
    expect(userErrors[0].message).not.toContain('horse');
  });

  test('that is kept counts among the bytes that a payload may have', async () => {
    const many = (prefix: string, value?: string) =>
      Array.from({ length: 50 }, (_, n) => ({ name: `${prefix}${n}`, value, secret: true }));
    const { workflow } = await create(container(many('A', 'x'.repeat(600))));
    const { userErrors } = await update(workflow.id, container([...many('A'), ...many('B', 'x'.repeat(600))]));
    expect(userErrors).toEqual([
      {
        code: 'INVALID',
        message: expect.stringContaining('those kept included'),
        path: ['payload', 'container', 'env'],
      },
    ]);
  });

  test("P6: of another user's workflow can be neither kept nor replaced nor seen", async () => {
    const { workflow } = await create(container([{ name: 'A', value: SECRET, secret: true }]));
    const foreign = await update(workflow.id, container([{ name: 'A', secret: true }]), bob.token);
    expect(foreign).toEqual({
      workflow: null,
      userErrors: [{ code: 'NOT_FOUND', message: expect.any(String), path: ['id'] }],
    });
    const { data } = await query(api, 'query ($id: ID!) { workflow(id: $id) { payload } }', {
      token: bob.token,
      variables: { id: workflow.id },
    });
    expect(data).toEqual({ workflow: null });
  });

  test('P8: is in no line of the log', () => {
    expect(api.logged.join()).not.toContain(SECRET);
  });
});
