import { sql } from 'drizzle-orm';
import { GraphQLNonNull, isInputObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schema } from '../../api/schema/schema.ts';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const CREATE = `mutation ($input: CreateApiTokenInput!) {
  createApiToken(input: $input) { secret apiToken { id scope expiresAt } userErrors { code path message } } }`;
const DAY_MS = 86_400_000;

/** A well-formed call of each mutation that refers to no existing object. */
function documentOf(name: string): string {
  const field = schema.getMutationType()?.getFields()[name];
  const [input] = field?.args ?? [];
  const type = input?.type instanceof GraphQLNonNull ? input.type.ofType : input?.type;
  if (!isInputObjectType(type)) return `mutation { ${name} { userErrors { code } } }`;
  const values: Record<string, string> = {
    'ID!': '"00000000-0000-7000-8000-000000000000"',
    'String!': '"a text"',
    'Int!': '1',
    '[ID!]!': '[]',
    'WorkflowPayloadInput!': '{ heartbeat: {} }',
    'NotificationPreference!': 'NONE',
    'AlertTargetInput!': '{ webhook: { url: "https://example.com/" } }',
    'DateTime!': '"2020-01-01T00:00:00Z"',
  };
  const fields = Object.values(type.getFields()).filter((given) => given.type instanceof GraphQLNonNull);
  const given = fields.map((one) => `${one.name}: ${values[String(one.type)] ?? '?'}`);
  return `mutation { ${name}(input: { ${given.join(', ')} }) { userErrors { code } } }`;
}

const OPEN = ['signIn', 'signUp']; // their callers are not signed in yet
const RUN = ['cancelJob', 'runWorkflow'];
const SESSION = ['changePassword', 'createApiToken', 'revokeSession', 'signOutEverywhere'];

describe('an API token', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
  });
  afterAll(() => api.close());

  const create = async (input: object, token = ann.token) =>
    (await query(api, CREATE, { token, variables: { input: { name: 'a token', ...input } } })).data?.createApiToken;
  const mutations = Object.keys(schema.getMutationType()?.getFields() ?? {}).filter(
    (name) => !OPEN.includes(name) && name !== 'signOut',
  );

  test.each(['READ', 'RUN', 'WRITE'])(
    'of scope %s may do what its scope says, and everything else is FORBIDDEN',
    async (scope) => {
      const { secret, apiToken } = await create({ scope });
      expect(apiToken.scope).toBe(scope);
      const { data } = await query(api, '{ viewer { id } workflows { nodes { id } } auditEvents { nodes { id } } }', {
        token: secret,
      });
      expect(data.viewer.id).toBe(ann.id);
      for (const name of mutations) {
        const answer = await query(api, documentOf(name), { token: secret });
        const may = !SESSION.includes(name) && (scope === 'WRITE' || (scope === 'RUN' && RUN.includes(name)));
        expect([name, codes(answer)]).toEqual([name, may ? [] : ['FORBIDDEN']]);
        if (!may) expect(answer.data?.[name] ?? null).toBeNull();
      }
    },
  );

  test('cannot create another one, but a session can', async () => {
    const { secret } = await create({});
    const answer = await query(api, CREATE, { token: secret, variables: { input: { name: 'a child' } } });
    expect(codes(answer)).toEqual(['FORBIDDEN']);
    expect((await create({})).userErrors).toEqual([]);
  });

  test('is one of at most 100 of an account, however many are requested at once', async () => {
    const bob = await person(api, 'bob');
    await api.db.execute(sql`
      INSERT INTO tokens (id, user_id, kind, name, hash)
      SELECT gen_random_uuid(), ${bob.id}, 'API', 'x', sha256(n::text::bytea) FROM generate_series(1, 98) AS n`);
    const made = await Promise.all(Array.from({ length: 8 }, () => create({}, bob.token)));
    const refused = made.filter(({ apiToken }) => apiToken === null);
    expect(refused).toHaveLength(6);
    for (const { userErrors } of refused) expect(userErrors).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
    const { apiTokens } = (await query(api, '{ viewer { apiTokens { id } } }', bob)).data.viewer;
    expect(apiTokens).toHaveLength(100);
  });

  test('expires in at most a year, and in a year by default', async () => {
    const year = Date.now() + 365 * DAY_MS;
    const { apiToken } = await create({});
    expect(Math.abs(Date.parse(apiToken.expiresAt) - year)).toBeLessThan(60_000);
    const soon = new Date(Date.now() + DAY_MS).toISOString();
    expect((await create({ expiresAt: soon })).apiToken.expiresAt).toBe(soon);
    const { userErrors } = await create({ expiresAt: new Date(year + 2 * DAY_MS).toISOString() });
    expect(userErrors).toMatchObject([{ code: 'INVALID', path: ['expiresAt'] }]);
    expect(userErrors[0].message).toMatch(/^A token may be valid for 365 days at most/);
  });

  test('expires as late as the operator allows, or never', async () => {
    const short = await testApi({ apiTokenDaysMax: 7 });
    const open = await testApi({ apiTokenDaysMax: 0 });
    try {
      const make = async (at: TestApi, expiresAt?: string) => {
        const { token } = await person(at);
        const variables = { input: { name: 'a token', ...(expiresAt ? { expiresAt } : {}) } };
        return (await query(at, CREATE, { token, variables })).data.createApiToken;
      };
      const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString();
      expect((await make(short, inDays(8))).userErrors).toMatchObject([{ code: 'INVALID' }]);
      expect((await make(short, inDays(6))).userErrors).toEqual([]);
      expect((await make(open)).apiToken.expiresAt).toBeNull();
      expect((await make(open, inDays(5_000))).userErrors).toEqual([]);
    } finally {
      await short.close();
      await open.close();
    }
  });
});
