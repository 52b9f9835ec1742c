import { sql } from 'drizzle-orm';
import {
  type GraphQLObjectType,
  getIntrospectionQuery,
  getNamedType,
  getNullableType,
  isListType,
  isObjectType,
  parse,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ANONYMOUS_REQUESTS_AT_ONCE_MAX } from '../../api/admission/admission.ts';
import { COST_MAX, operationCost } from '../../api/graphql/cost.ts';
import { ANONYMOUS_DOCUMENT_LIMITS, DOCUMENT_LIMITS } from '../../api/graphql/documents.ts';
import { CHANGE_COST, STATEMENT_COST } from '../../api/schema/cost.ts';
import { schema } from '../../api/schema/schema.ts';
import { connect } from '../../db/client.ts';
import { codes, type Person, person, query, type TestApi, testApi } from '../api/support.ts';
import { waitersFor } from '../support/database.ts';

const times = (count: number, text: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => text(n)).join(' ');
const typesOf = (depth: number): string =>
  depth === 0 ? 'name' : `name fields { name type { ${typesOf(depth - 1)} } }`;

describe('an operation', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    api = await testApi();
    [ann, bob] = [await person(api, 'ann'), await person(api, 'bob')];
  });
  afterAll(() => api.close());

  test.each([
    ['types of fields of types', `{ __schema { types { ${typesOf(6)} } } }`],
    ['its types again and again', `{ ${times(30, (n) => `a${n}: __schema { types { ${typesOf(2)} } }`)} }`],
    [
      'what implements what implements',
      `{ __type(name: "Node") { ${'possibleTypes { interfaces { '.repeat(5)} name ${'} }'.repeat(5)} } }`,
    ],
    ['a fragment of it', `{ ...S } fragment S on Query { __schema { types { ${typesOf(6)} } } }`],
  ])('that queries the schema for %s costs as much as its answer holds', async (_, document) => {
    for (const token of [undefined, ann.token]) {
      const answer = await query(api, document, token === undefined ? {} : { token });
      expect(answer.data ?? null).toBeNull();
      expect(['BAD_REQUEST', 'GRAPHQL_VALIDATION_FAILED']).toContain(codes(answer)[0]);
    }
  });

  test('that selects a type by name costs the longest lists of that type', () => {
    const costOf = (document: string) => operationCost({ schema, document: parse(document) });
    const fieldsMax = Math.max(
      ...Object.values(schema.getTypeMap()).map((type) =>
        isObjectType(type) ? Object.keys(type.getFields()).length : 0,
      ),
    );
    expect(costOf('{ __type(name: "Mutation") { fields { name } } }')).toBeGreaterThanOrEqual(fieldsMax);
    const implementing = `${'possibleTypes { interfaces { '.repeat(3)} name ${'} }'.repeat(3)}`;
    expect(costOf(`{ __type(name: "Node") { ${implementing} } }`)).toBeGreaterThan(7 ** 3);
  });

  test('that nests fragments is counted in full, and at once', () => {
    const spread = (n: number) => `...F${n} `.repeat(4);
    const fragments = times(20, (n) => `fragment F${n} on Query { ${n === 19 ? 'viewer { id }' : spread(n + 1)} }`);
    const document = parse(`{ ${spread(0)} } ${fragments}`);
    expect(operationCost({ schema, document })).toBe(4 ** 20 * 2); // hours, one by one
  });

  test('that requests the whole schema once is answered to everyone, the same each time', async () => {
    const first = await query(api, getIntrospectionQuery());
    expect(first.data.__schema.types.length).toBeGreaterThan(50);
    const again = await query(api, `# again\n${getIntrospectionQuery()}`);
    expect(again).toEqual(first);
    expect(await query(api, getIntrospectionQuery(), { token: ann.token })).toEqual(first);
    const one = 'query ($name: String!) { __type(name: $name) { name } }';
    for (const name of ['Job', 'Workflow'])
      expect(await query(api, one, { variables: { name } })).toEqual({ data: { __type: { name } } });
  });

  test('that reads pages of many logs costs a statement for each', async () => {
    const { token } = ann;
    const nested = 'nodes { jobs(first: 100) { nodes { logs(last: 1) { pageInfo { hasNextPage } } } } }';
    expect(codes(await query(api, `{ workflows(first: 100) { ${nested} } }`, { token }))).toEqual(['BAD_REQUEST']);
    const flat = '{ jobs(first: 100) { nodes { logs(last: 1) { nodes { text } } } } }';
    expect(await query(api, flat, { token })).toEqual({ data: { jobs: { nodes: [] } } });
  });

  test.each([
    ['node(id: "1") { id }', 7 * STATEMENT_COST],
    ['viewer { sessions { id } }', STATEMENT_COST],
    ['viewer { apiTokens { id } }', STATEMENT_COST],
    ['notifications(first: 1) { nodes { id } }', STATEMENT_COST],
    ['volumes(first: 1) { nodes { name } }', STATEMENT_COST],
  ])('that queries %s costs the statements for it', (selection, cost) => {
    expect(operationCost({ schema, document: parse(`{ ${selection} }`) })).toBeGreaterThanOrEqual(cost);
  });

  test('with page sizes in default values of variables costs what they say', async () => {
    const nested =
      'query ($n: Int = 100) { workflows(first: $n) { nodes { jobs(first: $n) { nodes { id status } } } } }';
    expect(operationCost({ schema, document: parse(nested) })).toBeGreaterThan(20_000);
    expect(operationCost({ schema, document: parse(nested), variableValues: { n: 10 } })).toBeLessThan(2_000);
    const tooLarge = nested.replace('id status', 'id status attempt trigger createdAt');
    expect(codes(await query(api, tooLarge, { token: ann.token }))).toEqual(['BAD_REQUEST']);
    const filtered = 'query ($f: JobFilter = { status: [FAILED] }) { jobs(first: 1, filter: $f) { nodes { id } } }';
    expect(operationCost({ schema, document: parse(filtered) })).toBeGreaterThan(2_000);
    expect(operationCost({ schema, document: parse(filtered), variableValues: { f: null } })).toBeLessThan(2_000);
    const ofEach = (first: number) =>
      operationCost({
        schema,
        document: parse(
          `{ workflows(first: ${first}) { nodes { jobs(first: 5, filter: { status: [FAILED] }) { nodes { id status } } } } }`,
        ),
      });
    expect(ofEach(20)).toBeLessThan(COST_MAX);
    expect(ofEach(100)).toBeGreaterThan(COST_MAX);
  });

  test('that marks very many notifications and selects much of each is refused before it marks any', async () => {
    const marked = (n: number) =>
      `m${n}: markNotificationsRead(input: $input) { notifications { workflow { jobs(first: 100) { nodes { id } } } } }`;
    const document = `mutation ($input: MarkNotificationsReadInput!) { ${marked(1)} }`;
    const variables = { input: { ids: [] } };
    expect(codes(await query(api, document, { token: ann.token, variables }))).toEqual(['BAD_REQUEST']);
    const plain = 'notifications { id readAt } userErrors { code message path }';
    const modest = `mutation ($input: MarkNotificationsReadInput!) { markNotificationsRead(input: $input) { ${plain} } }`;
    expect(codes(await query(api, modest, { token: ann.token, variables }))).toEqual([]);
  });

  test('with a list multiplies by the page size, or by the size that a list without pages declares', () => {
    const isPaged = ({ name }: GraphQLObjectType, field: string) =>
      /Connection$/.test(name) && /^(edges|nodes)$/.test(field);
    const lists = Object.values(schema.getTypeMap()).flatMap((type) =>
      isObjectType(type) && !type.name.startsWith('__')
        ? Object.values(type.getFields()).flatMap((field) => {
            const isList = isListType(getNullableType(field.type)) && isObjectType(getNamedType(field.type));
            const isSmall = field.name === 'userErrors' || isPaged(type, field.name);
            return isList && !isSmall ? [[`${type.name}.${field.name}`, field.extensions.cost]] : [];
          })
        : [],
    );
    const paged = Object.values(schema.getTypeMap()).flatMap((type) =>
      isObjectType(type)
        ? Object.values(type.getFields()).filter(({ args }) => args.some(({ name }) => name === 'first'))
        : [],
    );
    expect(paged.length).toBeGreaterThanOrEqual(8);
    for (const { name, extensions } of paged)
      expect(extensions.cost, name).toMatchObject({ pageSize: expect.any(Number) });
    expect(lists.length).toBeGreaterThanOrEqual(6);
    for (const [name, cost] of lists) expect(cost, String(name)).toMatchObject({ itemsMax: expect.any(Number) });
  });

  test('with a mutation costs a change, once', () => {
    const document = parse('mutation { deleteVolume(input: { name: "a" }) { deletedVolumeName } }');
    expect(operationCost({ schema, document })).toBeLessThan(2 * CHANGE_COST);
  });

  test('that requests the system thirty times checks each part once', async () => {
    let asked = 0;
    const isUp = api.bus.isUp.bind(api.bus);
    api.bus.isUp = () => {
      asked += 1;
      return isUp();
    };
    const document = `{ ${times(30, (n) => `s${n}: system { database bus cache docker }`)} }`;
    const { data } = await query(api, document, { token: ann.token });
    expect(data.s0).toEqual(data.s29);
    await query(api, document, { token: bob.token });
    expect(asked).toBeLessThanOrEqual(2); // a second check, if a second has passed between the two
    api.bus.isUp = isUp;
  });

  const { length, tokens, depth, aliases } = ANONYMOUS_DOCUMENT_LIMITS;
  test.each([
    ['length', `# ${'x'.repeat(length)}\n{ viewer { id } }`],
    ['tokens', `{ ${times(tokens, (n) => `a${n}`)} }`],
    ['depth', `{ __type(name: "Node") { ${'ofType { '.repeat(depth)} name ${'} '.repeat(depth)} } }`],
    ['aliases', `{ ${times(aliases + 1, (n) => `a${n}: viewer { id }`)} }`],
    ['cost', `{ ${times(7, (n) => `a${n}: __schema { types { ${typesOf(2)} } }`)} }`],
  ])('of a caller who is not signed in has a lower limit for %s', async (_, document) => {
    const refused = await query(api, document);
    expect(refused.data ?? null).toBeNull();
    expect(['BAD_REQUEST', 'GRAPHQL_VALIDATION_FAILED', 'GRAPHQL_PARSE_FAILED']).toContain(codes(refused)[0]);
    if (document.includes(' a1 ')) return; // these are not fields
    expect(codes(await query(api, document, { token: ann.token }))).toEqual([]);
  });

  test.each([
    ['is very long', `# ${'x'.repeat(DOCUMENT_LIMITS.length)}\n{ viewer { id } }`],
    ['is nested very deeply', `{ job(id: ${'['.repeat(2_400)}${']'.repeat(2_400)}) { id } }`],
    ['has the same field very often', `{ ${'viewer { id } '.repeat(800)} }`],
    ['has very many fragments', `{ ...F0 } ${times(150, (n) => `fragment F${n} on Query { ...F${n + 1} }`)}`],
    ['spreads a fragment very often', `{ ${'...F '.repeat(300)} } fragment F on Query { viewer { id } }`],
  ])('whose document %s is refused before it takes long', async (_, document) => {
    const logged = api.logged.length;
    expect(codes(await query(api, document, { token: ann.token }))).toEqual(['BAD_REQUEST']);
    expect(api.logged.slice(logged)).toEqual([]);
  });

  test.each([
    ['nested deeply', `{"query":"{ viewer { id } }","variables":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`],
    ['of very many values', `{"query":"{ viewer { id } }","variables":{"a":[${'{},'.repeat(100_000)}0]}}`],
  ])('in JSON that is %s is refused before that is parsed', async (_, body) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${ann.token}` };
    const response = await fetch(api.url, { method: 'POST', body, headers });
    expect(codes(await response.json())).toEqual(['BAD_REQUEST']);
  });

  test('has an answer of bounded length, however often it selects a long text', async () => {
    const body = 'x'.repeat(60_000);
    const input = {
      name: 'long',
      payload: { heartbeat: { endpoint: 'http://127.0.0.1:9/', method: 'POST', body } },
      interval: 1_000,
      maxConsecutiveJobFailuresAllowed: 1,
    };
    const create =
      'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { userErrors { message } } }';
    for (let n = 0; n < 10; n += 1)
      expect(await query(api, create, { token: bob.token, variables: { input } })).toEqual({
        data: { createWorkflow: { userErrors: [] } },
      });
    const asked = (count: number) =>
      query(api, `{ workflows(first: 10) { nodes { ${times(count, (n) => `p${n}: payload`)} } } }`, {
        token: bob.token,
      });
    expect(codes(await asked(2))).toEqual([]);
    const refused = await asked(30);
    expect(refused.data).toBeNull();
    expect(codes(refused)[0]).toBe('BAD_REQUEST');
  });

  test('P12: of a user waits for others of the same user, and not for another user who sends many', async () => {
    const lists = 'workflows(first: 100) { nodes { jobs(first: 100) { nodes { id } } } }';
    const costly = times(5, (n) => `a${n}: __schema { types { ${typesOf(2)} } }`);
    for (const selection of [lists, costly])
      expect(operationCost({ schema, document: parse(`{ ${selection} }`) })).toBeGreaterThan(10_000);
    const other = connect(api.databaseUrl, { max: 1, application: 'test' });
    const answers = await other.db.transaction(async (tx) => {
      // So that each of Ann's answers waits for as long as the test wants.
      await tx.execute(sql`LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE`);
      let answered = 0;
      const sent = Array.from({ length: 100 }, async () => {
        const answer = await query(api, `{ jobs(first: 1) { nodes { id } } ${lists} }`, { token: ann.token });
        answered += 1;
        return codes(answer);
      });
      const isWaiting = waitersFor('jobs');
      await expect.poll(async () => (await tx.execute(isWaiting)).length).toBe(1); // one at a time
      for (const more of ['', '', '', '', '', costly]) {
        const { data, errors } = await query(api, `{ viewer { id } ${more} }`, bob);
        expect(errors).toBeUndefined();
        expect(data.viewer.id).toBe(bob.id);
      }
      expect(await tx.execute(isWaiting)).toHaveLength(1);
      expect(answered).toBe(0);
      return sent;
    });
    await other.close();
    expect((await Promise.all(answers)).flat()).toEqual([]);
  });

  test('of an address without an account is limited in number, and signed-in users there are not affected', async () => {
    const other = await testApi({ bounds: { anonymousPerAddress: 2_000 } });
    const { token } = await person(other);
    const responses = await Promise.all(
      Array.from({ length: ANONYMOUS_REQUESTS_AT_ONCE_MAX * 3 }, () => fetch(`${other.url}?query={__typename}`)),
    );
    const refused = responses.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.headers.get('retry-after')).toBe('1');
    expect(codes(await refused[0]?.json())).toEqual(['RATE_LIMITED']);
    expect(codes(await query(other, '{ viewer { id } }', { token }))).toEqual([]);
    await expect.poll(async () => codes(await query(other, '{ __typename }'))).toEqual([]);
    await other.close();
  });
});
