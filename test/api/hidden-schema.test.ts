import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

describe('With GRAPHIQL and INTROSPECTION off', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi({ graphiql: false, introspection: false });
    ann = await person(api);
  });
  afterAll(() => api.close());

  test('no browser gets GraphiQL', async () => {
    const page = await fetch(api.url, { headers: { accept: 'text/html' } });
    expect([page.status, await page.json()]).toEqual([404, { message: expect.stringContaining('GRAPHIQL') }]);
    expect((await fetch(new URL('/graphql/graphiql.js', api.url))).status).toBe(404);
  });

  test.each([
    ['the whole schema', getIntrospectionQuery()],
    ['a type', '{ __type(name: "User") { fields { name } } }'],
    ['the schema in a fragment', '{ ...Q } fragment Q on Query { a: __schema { types { name } } }'],
  ])('no client learns %s', async (_, document) => {
    for (const options of [{}, { token: ann.token }]) {
      const answer = await query(api, document, options);
      expect([answer.data ?? null, answer.errors?.length]).toEqual([null, expect.any(Number)]);
      const socket = socketOf(api, 'token' in options ? options.token : undefined);
      const refused = await taker(socket.iterate({ query: document }))
        .take()
        .catch((error: unknown) => error);
      expect(JSON.stringify(refused)).not.toContain('"types"');
      expect(JSON.stringify(refused)).toContain('introspection');
      await socket.dispose();
    }
    const typename = await query(api, '{ __typename viewer { __typename } }', { token: ann.token });
    expect(typename).toEqual({ data: { __typename: 'Query', viewer: { __typename: 'User' } } });
  });

  test.each([
    ['a field', '{ viewr { id } }', {}],
    ['a type', '{ ... on Quary { __typename } }', {}],
    ['a type of an abstract one', '{ node(id: "1") { email } }', {}],
    ['an argument', '{ job(idd: "1") { id } }', {}],
    ['an enum value', '{ jobs(filter: { status: [FAILD] }) { nodes { id } } }', {}],
    ['an input field', '{ jobs(filter: { stats: [FAILED] }) { nodes { id } } }', {}],
    ['a directive', '{ viewer @skipp(if: true) { id } }', {}],
    [
      'an enum value in a variable',
      'query ($s: [JobStatus!]) { jobs(filter: { status: $s }) { nodes { id } } }',
      { s: ['FAILD'] },
    ],
    [
      'an input field in a variable',
      'query ($f: JobFilter) { jobs(filter: $f) { nodes { id } } }',
      { f: { stats: [] } },
    ],
  ])('no error suggests %s', async (_, document, variables) => {
    for (let time = 0; time < 2; time += 1) {
      // the second request uses the cached document of the first
      const { errors = [] } = await query(api, document, { token: ann.token, variables });
      expect(errors.length).toBeGreaterThan(0);
      expect(JSON.stringify(errors)).not.toMatch(/did you mean/i);
    }
    const socket = socketOf(api, ann.token);
    const refused = await taker(socket.iterate({ query: document, variables }))
      .take()
      .catch((error: unknown) => error);
    expect(JSON.stringify(refused)).toContain('message');
    expect(JSON.stringify(refused)).not.toMatch(/did you mean/i);
    await socket.dispose();
  });
});
