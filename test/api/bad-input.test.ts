import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const CREATE =
  'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } userErrors { code message path } } }';
const GOOD = { name: 'a', payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 };
const container = (fields: object) => ({ payload: { container: { image: 'alpine', ...fields } } });

/** Spaces, controls, characters without width, and those that are drawn as nothing. */
const BLANKS = [
  ' ',
  '\t\n',
  '\u00a0',
  '\u200b\u200d\ufeff',
  '\u0001\u007f\u0085',
  '\u2003 \u3000',
  '\u115f\u3164\u2800',
  '\u202e\u2066',
  '\u{e0020}',
];
const codePoints = (text: string) => [...text].map((one) => `U+${one.codePointAt(0)?.toString(16)}`).join(' ');

describe('bad input', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  const create = (input: object) =>
    query(api, CREATE, { token: ann.token, variables: { input: { ...GOOD, ...input } } });

  test.each<[string, object, string[], string?]>([
    ['an interval of 0', { interval: 0 }, ['interval']],
    ['an interval of -1', { interval: -1 }, ['interval']],
    ['an interval over a year', { interval: 525_601 }, ['interval']],
    ['a threshold of 0', { maxConsecutiveJobFailuresAllowed: 0 }, ['maxConsecutiveJobFailuresAllowed']],
    ['a name of no characters', { name: '' }, ['name']],
    ['a name of 300 characters', { name: 'x'.repeat(300) }, ['name']],
    ['NUL in a name', { name: 'a\0b' }, ['name']],
    ...BLANKS.map((name): [string, object, string[], string] => [
      `a name of blanks (${codePoints(name)})`,
      { name },
      ['name'],
      'blank',
    ]),
    [
      'an env name of blanks',
      container({ env: [{ name: ' \u00a0', value: '' }] }),
      ['payload', 'container', 'env', '0', 'name'],
    ],
    [
      'a login of blanks',
      container({ image: 'a', registryAuth: { username: '\u200b ', password: 'b' } }),
      ['payload', 'container', 'registryAuth', 'username'],
    ],
    ['a lone surrogate in a name', { name: 'a\ud800b' }, ['name']],
    ['an invalid image reference', container({ image: 'Not An Image' }), ['payload', 'container', 'image']],
    ['no image', { payload: { container: {} } }, ['payload', 'container', 'image']],
    [
      'an env name with "="',
      container({ env: [{ name: 'A=B', value: '' }] }),
      ['payload', 'container', 'env', '0', 'name'],
    ],
    ['an empty env name', container({ env: [{ name: '', value: '' }] }), ['payload', 'container', 'env', '0', 'name']],
    [
      'an env variable without a value',
      container({ env: [{ name: 'A' }] }),
      ['payload', 'container', 'env', '0', 'value'],
    ],
    ['a relative working directory', container({ workingDir: 'app' }), ['payload', 'container', 'workingDir']],
    ['a time-out over the maximum', container({ timeoutSeconds: 86_401 }), ['payload', 'container', 'timeoutSeconds']],
    [
      'a volume path of "/"',
      container({ volumes: [{ name: 'v', path: '/' }] }),
      ['payload', 'container', 'volumes', '0', 'path'],
    ],
    ['a memory of 0', container({ resources: { memoryMb: 0 } }), ['payload', 'container', 'resources', 'memoryMb']],
    [
      'a file path that leaves the context',
      { payload: { container: { build: { dockerfile: 'FROM a', files: [{ path: '../x', content: '' }] } } } },
      ['payload', 'container', 'build', 'files', '0', 'path'],
    ],
    [
      'a hidden line of a Dockerfile',
      { payload: { container: { build: { dockerfile: 'FROM a\nRUN echo x\\\\\nCOPY /a /b' } } } },
      ['payload', 'container', 'build', 'dockerfile'],
      'Line 2 of the Dockerfile',
    ],
    [
      'ADD of a URL in a document',
      { payload: { json: JSON.stringify({ kind: 'CONTAINER', build: { dockerfile: 'FROM a\n\nADD http://a/ /b' } }) } },
      ['payload', 'json', 'build', 'dockerfile'],
      'Line 3 of the Dockerfile',
    ],
    [
      'the beginning of an image id',
      container({ image: '7f9829cda069' }),
      ['payload', 'container', 'image'],
      'image id',
    ],
    ['malformed JSON', { payload: { json: '{' } }, ['payload', 'json']],
    ['an unknown kind', { payload: { json: '{"kind":"CRON"}' } }, ['payload', 'json', 'kind']],
    [
      'an unknown key',
      { payload: { json: '{"kind":"HEARTBEAT","endpiont":"http://a"}' } },
      ['payload', 'json', 'endpiont'],
    ],
    [
      'a path of this machine',
      { payload: { heartbeat: { endpoint: 'file:///etc/passwd' } } },
      ['payload', 'heartbeat', 'endpoint'],
    ],
    [
      'a header with a newline',
      { payload: { heartbeat: { endpoint: 'http://a', headers: [{ name: 'A', value: 'b\r\nC: d', secret: true }] } } },
      ['payload', 'heartbeat', 'headers', '0', 'value'],
    ],
    [
      'days of a certificate without TLS',
      { payload: { heartbeat: { endpoint: 'http://a', minTlsDaysLeft: 7 } } },
      ['payload', 'heartbeat', 'minTlsDaysLeft'],
    ],
    [
      'a login without a user',
      container({ image: 'a', registryAuth: { username: '', password: 'b' } }),
      ['payload', 'container', 'registryAuth', 'username'],
    ],
    ['a wrong scheme', { payload: { heartbeat: { endpoint: 'gopher://a' } } }, ['payload', 'heartbeat', 'endpoint']],
  ])('%s is reported with its path, and no data is stored', async (_, input, path, words = '') => {
    const { data, errors } = await create(input);
    expect(errors).toBeUndefined();
    expect(data.createWorkflow.workflow).toBeNull();
    expect(data.createWorkflow.userErrors).toMatchObject([{ code: 'INVALID', path }]);
    expect(data.createWorkflow.userErrors[0].message).toMatch(/^[A-Z"].*[.?]$/);
    expect(data.createWorkflow.userErrors[0].message).toContain(words);
    const [row] = await api.db.execute(
      'SELECT (SELECT count(*) FROM workflows) + (SELECT count(*) FROM schedules) AS count',
    );
    expect(Number(row?.count)).toBe(0);
  });

  test('in the name of an API token and in an update is refused alike, and odd names that can be seen are taken', async () => {
    const token =
      'mutation ($name: String!) { createApiToken(input: { name: $name }) { apiToken { name } userErrors { code path } } }';
    const refused = [{ code: 'INVALID', path: ['name'] }];
    for (const name of BLANKS) {
      const { data } = await query(api, token, { token: ann.token, variables: { name } });
      expect(data.createApiToken).toEqual({ apiToken: null, userErrors: refused });
    }
    const update =
      'mutation ($name: String) { updateWorkflow(input: { id: "x", name: $name }) { userErrors { code path } } }';
    const { data } = await query(api, update, { token: ann.token, variables: { name: '\u200b' } });
    expect(data.updateWorkflow.userErrors).toEqual(refused);
    for (const name of [' a', '\u{1f468}\u200d\u{1f469}', '.', '\u0301', '\u2067\u05d0']) {
      const made = await query(api, token, { token: ann.token, variables: { name } });
      expect(made.data.createApiToken).toEqual({ apiToken: { name }, userErrors: [] });
    }
  });

  test('of several kinds is reported at once', async () => {
    const { data } = await create({ name: '', interval: 0, ...container({ image: ':', workingDir: 'x' }) });
    expect(data.createWorkflow.userErrors.map(({ path }: { path: string[] }) => path.join('.'))).toEqual([
      'name',
      'interval',
      'payload.container.image',
      'payload.container.workingDir',
    ]);
  });

  test('cannot use a name that JavaScript treats specially', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const written = Object.fromEntries(names.map((name) => [name, 'x']));
    const document =
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id payload } userErrors { message } } }';
    const pairs = names.map((name) => ({ name, value: 'x' }));
    for (const [what, payload] of [
      ['headers', { heartbeat: { endpoint: 'http://a', headers: pairs } }],
      ['headers', { json: JSON.stringify({ kind: 'HEARTBEAT', endpoint: 'http://a', headers: written }) }],
      ['env', { container: { image: 'alpine', env: pairs } }],
      ['env', { json: JSON.stringify({ kind: 'CONTAINER', image: 'alpine', env: written }) }],
    ] as const) {
      const { data } = await query(api, document, { token: ann.token, variables: { input: { ...GOOD, payload } } });
      expect(data.createWorkflow.userErrors).toEqual([]);
      expect(Object.entries(JSON.parse(data.createWorkflow.workflow.payload)[what]).sort()).toEqual(
        Object.entries(written).sort(),
      );
      const again = { json: data.createWorkflow.workflow.payload };
      const update =
        'mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { workflow { generation } } }';
      const input = { id: data.createWorkflow.workflow.id, payload: again };
      const updated = await query(api, update, { token: ann.token, variables: { input } });
      expect(updated.data.updateWorkflow.workflow.generation).toBe(1);
    }
    const { data } = await create({ payload: { json: '{"kind":"HEARTBEAT","__proto__":{}}' } });
    expect(data.createWorkflow.userErrors).toMatchObject([{ path: ['payload', 'json', '__proto__'] }]);
  });

  test('of very many kinds is reported by its first hundred problems', async () => {
    const args = Array.from({ length: 20_000 }, () => '\0');
    const { data } = await create(container({ args }));
    const { userErrors } = data.createWorkflow;
    expect(userErrors).toHaveLength(100);
    expect(userErrors[99].path).toEqual(['payload', 'container', 'args', '99']);
    const keys = Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`key${n}`, n]));
    const json = JSON.stringify({ kind: 'CONTAINER', image: 'alpine', ...keys });
    expect((await create({ payload: { json } })).data.createWorkflow.userErrors).toHaveLength(100);
  });

  test.each<[string, object]>([
    ['an interval of 2^31', { interval: 2 ** 31 }],
    ['an interval of 1.5', { interval: 1.5 }],
    ['a name that is a number', { name: 3 }],
    ['both payloads', { payload: { heartbeat: {}, container: { image: 'a' } } }],
    ['neither payload', { payload: {} }],
    ['a payload that is null', { payload: { heartbeat: null } }],
    ['an unknown field', { nmae: 'a' }],
    ['an unknown method', { payload: { heartbeat: { endpoint: 'http://a', method: 'BREW' } } }],
    ['a name that is missing', { name: undefined }],
  ])('in a variable of the wrong type is BAD_REQUEST: %s', async (_, input) => {
    expect(codes(await create(input))).toEqual(['BAD_REQUEST']);
  });

  test.each([
    ['workflows(first: 100000)', 'must be 1 to 100, not 100000'],
    ['workflows(first: 0)', 'must be 1 to 100, not 0'],
    ['workflows(last: -1)', 'must be 1 to 100, not -1'],
    ['workflows(first: 1, last: 1)', 'not both'],
    ['workflows(after: "bad")', 'cursor'],
    ['jobs(before: "")', 'cursor'],
    ['jobs(first: 101)', 'must be 1 to 100'],
    ['workflows(filter: { nameContains: "a\\u0000" })', 'NUL'],
  ])('in the paging of %s is BAD_REQUEST', async (field, sentence) => {
    const answer = await query(api, `{ ${field} { nodes { id } } }`, { token: ann.token });
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
    expect(answer.errors?.[0]?.message).toContain(sentence);
  });

  test.each([
    ['{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
    ['{', 'GRAPHQL_PARSE_FAILED'],
    ['mutation { createWorkflow(input: { payload: {} }) { workflow { id } } }', 'GRAPHQL_VALIDATION_FAILED'],
    ['{ jobs(filter: { scheduledAfter: "yesterday" }) { nodes { id } } }', 'GRAPHQL_VALIDATION_FAILED'],
  ])('in a document is reported as a document error: %s', async (document, code) => {
    for (const seen of codes(await query(api, document, { token: ann.token }))) expect(seen).toBe(code);
  });

  test('in an id is treated as an unknown id', async () => {
    const ids = ['', 'x', '1', "'; DROP TABLE jobs; --", 'a\0', '00000000-0000-7000-8000-000000000000'];
    for (const id of ids) {
      const answer = await query(
        api,
        `query ($id: ID!) { workflow(id: $id) { id } job(id: $id) { id } node(id: $id) { id } jobs(filter: { workflowId: $id }) { nodes { id } } }`,
        { token: ann.token, variables: { id } },
      );
      expect(answer).toEqual({ data: { workflow: null, job: null, node: null, jobs: { nodes: [] } } });
    }
  });

  test('never gives INTERNAL_SERVER_ERROR, and leaves no line in the log', () => {
    expect(api.logged).toEqual([]);
  });
});
