import { once } from 'node:events';
import {
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLObjectType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { schema } from '../../api/schema/schema.ts';
import { newId } from '../../domain/ids.ts';
import { type Answer, codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const DATES_REFUSED = [
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00+14:00', // in the year 0 of UTC
  '9999-12-31T23:59:59-14:00',
  '275760-09-13T00:00:00Z',
  '+275760-09-13T00:00:00.000Z',
  '-000001-01-01T00:00:00Z',
  '2016-12-31T23:59:60Z', // a leap second
  '2026-02-30T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01T00:00:00+99:99',
  '2026-01-01T00:00:00',
  '2026-01-01',
];
const DATES_TAKEN = ['0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999999Z', '2024-02-29t23:59:59.5-12:00'];
const TEXTS = [
  '',
  'x',
  'a\0b',
  '\ud800',
  '\u202e',
  "'; DROP TABLE jobs; --",
  '%',
  'x'.repeat(5_000),
  '__proto__',
  '{}',
];
const NUMBERS = [0, -1, 1, 1.5, 2 ** 31, -(2 ** 31), 2 ** 53, 1e308];
const ANYTHING: unknown[] = [null, true, {}, [], [[]], { __proto__: null, constructor: 1 }, [null], 'x', 7];

/**
 * Values that a client may well pass for an argument of this type, including values of other types.
 */
function oddValues(type: GraphQLInputType, depth: number): unknown[] {
  const others = depth === 0 ? ANYTHING : ANYTHING.slice(0, 3);
  if (isNonNullType(type)) return oddValues(type.ofType, depth);
  if (isListType(type)) return [[], ...others];
  if (isEnumType(type)) return [...type.getValues().map(({ name }) => name), 'NONE_OF_THEM', ...others];
  if (isInputObjectType(type)) return [{}, { nothing: 1 }, ...others];
  const dates = [...DATES_REFUSED, ...DATES_TAKEN];
  const values = { DateTime: dates, ID: [...TEXTS, newId()], String: TEXTS, Int: NUMBERS, Float: NUMBERS }[type.name];
  return [...(values ?? []), ...others];
}

/** A valid value of the type, apart from `depth` and random gaps. */
function plainValue(type: GraphQLInputType, depth: number): unknown {
  if (isNonNullType(type)) return plainValue(type.ofType, depth);
  if (isListType(type)) return [plainValue(type.ofType, depth)];
  if (isEnumType(type)) return type.getValues()[0]?.name;
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields());
    const given = type.isOneOf ? fields.slice(0, 1) : fields.filter((field) => isNonNullType(field.type));
    return Object.fromEntries(given.map((field) => [field.name, plainValue(field.type, depth + 1)]));
  }
  return { DateTime: '2026-01-01T00:00:00Z', ID: newId(), String: 'a text', Int: 5, Float: 5, Boolean: true }[
    type.name
  ];
}

/** Values of the type, each with one odd part. */
function* inputs(type: GraphQLInputType, depth = 0): Generator<unknown> {
  for (const value of oddValues(type, depth)) yield value;
  const bare = isNonNullType(type) ? type.ofType : type;
  if (isListType(bare) && depth < DEPTH_MAX) for (const value of inputs(bare.ofType, depth + 1)) yield [value];
  if (!isInputObjectType(bare) || depth >= DEPTH_MAX) return;
  const plain = plainValue(bare, depth);
  for (const field of Object.values<GraphQLInputField>(bare.getFields()))
    for (const value of inputs(field.type, depth + 1))
      yield bare.isOneOf ? { [field.name]: value } : { ...(plain as object), [field.name]: value };
}
const DEPTH_MAX = 5;

interface Request {
  query: string;
  variables: unknown;
}

function* requests(operation: string, root: GraphQLObjectType | undefined | null): Generator<Request> {
  if (!root) throw new Error(`There is no type for a ${operation}.`);
  for (const field of Object.values(root.getFields())) yield* fieldRequests(operation, field, (inner) => inner);
  if (operation !== 'query') return;
  const within: [string, string][] = [
    ['Workflow', '{ workflows(first: 1) { nodes { ID } } }'],
    ['Job', '{ jobs(first: 1) { nodes { ID } } }'],
  ];
  for (const [name, around] of within) {
    const type = schema.getType(name);
    if (!isObjectType(type)) throw new Error(`There is no type ${name}.`);
    for (const field of Object.values(type.getFields()))
      yield* fieldRequests(operation, field, (inner) => around.slice(1, -1).replace('ID', inner));
  }
}

function* fieldRequests(
  operation: string,
  field: GraphQLField<unknown, unknown>,
  around: (inner: string) => string,
): Generator<Request> {
  const selection = isLeafType(getNamedType(field.type)) ? '' : '{ __typename }';
  for (const arg of field.args) {
    const needed = field.args.filter((other) => other !== arg && isNonNullType(other.type));
    const all = [arg, ...needed];
    const variables = all.map(({ name, type }) => `$${name}: ${type}`).join(', ');
    const given = all.map(({ name }) => `${name}: $${name}`).join(', ');
    const document = `${operation} (${variables}) { ${around(`${field.name}(${given}) ${selection}`)} }`;
    const others = Object.fromEntries(needed.map(({ name, type }) => [name, plainValue(type, 0)]));
    for (const value of inputs(arg.type)) {
      if (field.name === 'signOut') continue; // it would end the session of the test
      yield { query: document, variables: { ...others, [arg.name]: value } };
    }
  }
}

const RIGHT_CODES = ['BAD_REQUEST', 'NOT_FOUND', 'RATE_LIMITED', 'GRAPHQL_VALIDATION_FAILED', 'UNAUTHENTICATED'];

describe('odd values', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    const input = { name: 'a', payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 };
    const create =
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } userErrors { message } } }';
    const { data } = await query(api, create, { token: ann.token, variables: { input } });
    const run = 'mutation ($id: ID!) { runWorkflow(input: { id: $id }) { job { id } } }';
    await query(api, run, { token: ann.token, variables: { id: data.createWorkflow.workflow.id } });
  });
  afterAll(() => api.close());

  const ask = (document: string, variables?: unknown) =>
    query(api, document, { token: ann.token, variables: variables as object });

  test.each([
    ['query ($at: DateTime) { analytics(from: $at) { jobCount } }', 'analytics'],
    ['query ($at: DateTime) { analytics(to: $at) { jobCount } }', 'analytics'],
    ['query ($at: DateTime) { jobs(filter: { scheduledAfter: $at }) { nodes { id } } }', 'jobs'],
    ['query ($at: DateTime) { jobs(filter: { scheduledBefore: $at }) { nodes { id } } }', 'jobs'],
    ['query ($at: DateTime) { workflows { nodes { analytics(from: $at, to: $at) { jobCount } } } }', 'workflows'],
    [
      'mutation ($at: DateTime) { createApiToken(input: { name: "a", expiresAt: $at }) { userErrors { message } } }',
      'createApiToken',
    ],
  ])('of instants are refused if they cannot exist: %s', async (document, field) => {
    for (const at of DATES_REFUSED) {
      const { data, errors } = await ask(document, { at });
      expect([at, data?.[field], errors?.[0]?.extensions.code]).toEqual([at, undefined, 'BAD_REQUEST']);
      expect(errors?.[0]?.message).toMatch(/^\$at: A DateTime must be /);
      const literal = await ask(document.replace(/\(\$at: DateTime\) /, '').replaceAll('$at', JSON.stringify(at)));
      expect(codes(literal)).toContain('GRAPHQL_VALIDATION_FAILED');
    }
    for (const at of DATES_TAKEN) expect(codes(await ask(document, { at }))).toEqual([]);
  });

  const CREATE = 'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }';
  const GOOD = { name: 'a', payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 };
  test.each<[object, string]>([
    [{ name: 3 }, '$input.name: '],
    [{ interval: 'x' }, '$input.interval: '],
    [{ nmae: 'a' }, '$input: '],
    [{ payload: {} }, '$input.payload: '],
    [
      { payload: { heartbeat: { headers: [{ name: 'a' }, { name: 3 }] } } },
      '$input.payload.heartbeat.headers[1].name: ',
    ],
    [
      { payload: { heartbeat: { headers: [{ name: 'a', secret: 'a at "b"; c' }] } } },
      '$input.payload.heartbeat.headers[0].secret: ',
    ],
  ])('in a variable are reported with their path: %j', async (input, place) => {
    const { errors } = await ask(CREATE, { input: { ...GOOD, ...input } });
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['BAD_REQUEST']);
    expect(errors?.[0]?.message.slice(0, place.length)).toBe(place);
  });

  test('in a password are not repeated in the answer', async () => {
    const signIn = 'mutation ($input: SignInInput!) { signIn(input: $input) { token } }';
    const { errors } = await ask(signIn, { input: { password: 'open-sesame', email: 'a@example.com', nothing: 1 } });
    expect(errors?.[0]?.message).toMatch(/^\$input: Field "nothing" is not defined/);
    expect(JSON.stringify(errors)).not.toContain('sesame');
  });

  test.each([[[]], ['x'], [3], [true], [[1]]])(
    'in place of all variables, such as %j, are BAD_REQUEST',
    async (variables) => {
      for (const document of ['{ viewer { id } }', 'query ($id: ID!) { workflow(id: $id) { id } }']) {
        expect(codes(await ask(document, variables))).toEqual(['BAD_REQUEST']);
        const url = `${api.url}?query=${encodeURIComponent(document)}&variables=${encodeURIComponent(JSON.stringify(variables))}`;
        const response = await fetch(url, {
          headers: { authorization: `Bearer ${ann.token}`, accept: 'application/json' },
        });
        expect(codes((await response.json()) as Answer)).toEqual(['BAD_REQUEST']);
      }
    },
  );

  test('of every argument, one at a time, give no internal error over HTTP', async () => {
    const all = [...requests('query', schema.getQueryType()), ...requests('mutation', schema.getMutationType())];
    for (let at = 0; at < all.length; at += 20)
      await Promise.all(
        all.slice(at, at + 20).map(async ({ query: document, variables }) => {
          for (const code of codes(await ask(document, variables))) {
            if (!RIGHT_CODES.includes(String(code)))
              throw new Error(`${code}: ${document} ${JSON.stringify(variables)}`);
          }
        }),
      );
    expect(all.length).toBeGreaterThan(1_000);
  }, 300_000); // 15 s on two idle cores

  test('of every argument of a subscription, one at a time, give no internal error over a WebSocket', async () => {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    await once(socket, 'open');
    const closed = once(socket, 'close').then(([code, reason]) => Promise.reject(new Error(`${code} ${reason}`)));
    closed.catch(() => undefined);
    const refused: [id: string, code: string][] = [];
    const waiting = new Map<string, () => void>();
    socket.on('message', (data) => {
      const { id = '', type, payload } = JSON.parse(String(data));
      for (const { extensions } of type === 'error' ? payload : (payload?.errors ?? []))
        refused.push([id, extensions.code]);
      if (type === 'connection_ack' || type === 'complete') waiting.get(id)?.();
    });
    const say = (message: object) => socket.send(JSON.stringify(message));
    const answered = (id: string, message: object) => {
      const answer = new Promise<void>((resolve) => waiting.set(id, resolve));
      say(message);
      return Promise.race([answer, closed]);
    };
    await answered('', { type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } });
    const all = [...requests('subscription', schema.getSubscriptionType())];
    for (const [n, payload] of all.entries()) {
      say({ id: `${n}`, type: 'subscribe', payload });
      // A query that begins later and takes about as long as a subscription takes to begin.
      const id = `behind ${n}`;
      await answered(id, { id, type: 'subscribe', payload: { query: '{ jobs { nodes { id } } }' } });
      say({ id: `${n}`, type: 'complete' });
    }
    expect(
      refused.filter(([, code]) => !RIGHT_CODES.includes(code)).map(([id, code]) => [code, all[Number(id)]]),
    ).toEqual([]);
    expect(refused.length).toBeGreaterThan(50);
    socket.removeAllListeners().close();
  }, 60_000);

  test('leave no line in the log', () => {
    expect(api.logged).toEqual([]);
  });
});
