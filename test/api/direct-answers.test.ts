import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWorkflow, type Person, person, type TestApi, testApi } from './support.ts';

/** Two types of the same JSON. Only the first is answered past the engine. */
const DIRECT = 'application/json';
const BY_ENGINE = 'application/graphql+json';

const NOBODY = `Bearer cva_${'x'.repeat(43)}`;

/** Headers that differ from answer to answer. */
const OWN = new Set(['date', 'set-cookie']);

describe('an answer that is sent past the engine', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    for (let n = 0; n < 10; n++) await createWorkflow(api, ann);
  });
  afterAll(() => api.close());

  async function answer(type: string, body: string, headers: Record<string, string>) {
    const response = await fetch(api.url, { method: 'POST', headers: { 'content-type': type, ...headers }, body });
    const shown = [...response.headers].filter(([name]) => !OWN.has(name)).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return { status: response.status, headers: shown, body: await response.text() };
  }

  const requests: [what: string, sent: object | string][] = [
    ['a query', { query: '{ viewer { email } __typename }' }],
    ['a long answer', { query: '{ workflows { nodes { id name kind interval createdAt payload { json } } } }' }],
    ['variables', { query: 'query ($n: Int) { jobs(first: $n) { nodes { id } } }', variables: { n: 1 } }],
    ['the schema', { query: '{ __schema { queryType { fields { name } } } }' }],
    ['one of several operations', { query: 'query A { viewer { id } } query B { __typename }', operationName: 'B' }],
    ['an unknown operation', { query: 'query A { viewer { id } }', operationName: 'C' }],
    ['several operations and no name', { query: 'query A { viewer { id } } query B { __typename }' }],
    ['an error of a field', { query: '{ jobs(first: 0) { nodes { id } } viewer { id } }' }],
    ['an error of an argument', { query: '{ jobs(filter: { scheduledAfter: "now" }) { nodes { id } } }' }],
    [
      'a variable that is wrong',
      { query: 'query ($n: Int) { jobs(first: $n) { nodes { id } } }', variables: { n: 'a' } },
    ],
    ['a document that does not parse', { query: '{ jobs' }],
    ['a document that is not valid', { query: '{ jobs { nothing } }' }],
    ['too much', { query: '{ jobs(first: 100) { nodes { workflow { jobs(first: 100) { nodes { id status } } } } } }' }],
    ['a mutation', { query: 'mutation { updateAccount: markAllNotificationsRead { userErrors { code } } }' }],
    ['a subscription', { query: 'subscription { jobUpdated { id } }' }],
    ['no query', { variables: {} }],
    ['an unknown parameter', { query: '{ __typename }', more: 1 }],
    ['no JSON', '{ query'],
    ['a list', '[]'],
    ['nothing', ''],
  ];
  const accepts = [
    'application/json',
    'application/graphql-response+json',
    '*/*',
    'text/html',
    'text/event-stream;q=0.5, application/json',
  ];

  test.each(requests)('is what the engine sends, for %s', async (_, sent) => {
    const body = typeof sent === 'string' ? sent : JSON.stringify(sent);
    const isStream = body.includes('subscription');
    const asked: Record<string, string>[] = accepts.map((accept) => ({ accept }));
    asked.push({ 'accept-encoding': 'br' }, { 'accept-encoding': 'identity' }, { authorization: NOBODY });
    for (const headers of asked) {
      if (isStream && /event|\*/.test(headers.accept ?? '*')) continue; // it would last
      const all = { authorization: `Bearer ${ann.token}`, ...headers };
      expect(await answer(DIRECT, body, all), JSON.stringify(headers)).toEqual(await answer(BY_ENGINE, body, all));
    }
  });
});
