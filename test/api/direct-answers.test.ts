import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWorkflow, type Person, person, type TestApi, testApi } from './support.ts';

/** Two types of the same JSON. Only the first is answered past the engine. */
const DIRECT = 'application/json';
const BY_ENGINE = 'application/graphql+json';

const NOBODY = `Bearer cva_${'x'.repeat(43)}`;

/** Headers that differ from answer to answer. */
const OWN = new Set(['date', 'set-cookie']);

const REQUEST_ID = /"requestId":"[^"]*"/g;

describe('an answer that is sent past the engine', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    for (let n = 0; n < 10; n++) await createWorkflow(api, ann);
  });
  afterAll(() => api.close());

  async function answer(type: string, body: string | Buffer, headers: Record<string, string>) {
    const parts = await new Promise<{ status: number | undefined; raw: string[]; body: Buffer }>((resolve, reject) => {
      const sent = request(api.url, { method: 'POST', headers: { 'content-type': type, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode, raw: response.rawHeaders, body: Buffer.concat(chunks) }),
        );
      });
      sent.once('error', reject).end(body);
    });
    const pairs = parts.raw.flatMap((name, n) => (n % 2 ? [] : [[name.toLowerCase(), parts.raw[n + 1] ?? '']]));
    const shown = pairs.filter(([name = '']) => !OWN.has(name)).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1));
    return { status: parts.status, headers: shown, body: parts.body.toString('latin1').replaceAll(REQUEST_ID, '') };
  }

  const requests: [what: string, sent: object | string | Buffer][] = [
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
    ['a query twice', '{"query": "{ nothing }", "query": "{ __typename }"}'],
    ['a mark of the byte order', '\ufeff{"query": "{ __typename }"}'],
    ['bytes that are no UTF-8', Buffer.from('{"query": "{ __typename } # \xff"}', 'latin1')],
    ['no data', { query: 'query ($n: Int) { jobs(first: $n) { nodes { id } } }', variables: { n: 0 } }],
    [
      'errors of several fields',
      { query: '{ a: jobs(first: 0) { hasMore } b: workflow(id: "") { id } c: __typename }' },
    ],
    ['an object of any type', { query: '{ node(id: "0") { __typename id ... on Job { status } } }' }],
    [
      'a field that is left out',
      { query: 'query ($a: Boolean!) { __typename id: __typename @skip(if: $a) }', variables: { a: true } },
    ],
    ['data beside the schema', { query: '{ viewer { id } __type(name: "Job") { name } }' }],
    [
      'an expensive query',
      { query: '{ jobs(first: 100) { nodes { workflow { jobs(first: 90) { nodes { id } } } } } }' },
    ],
    ['unknown variables', { query: '{ __typename }', variables: { n: 1 } }],
    ['variables that are no object', { query: '{ __typename }', variables: [1] }],
    ['extensions', { query: '{ __typename }', extensions: { a: 1 } }],
    ['a hash of a query', { extensions: { persistedQuery: { version: 1, sha256Hash: '0'.repeat(64) } } }],
    ['a name that is no text', { query: '{ __typename }', operationName: 1 }],
    ['a document with nothing to run', { query: 'fragment F on Query { __typename }' }],
    ['an empty document', { query: '' }],
    ['a deep document', { query: `{ ${'a { '.repeat(300)} b ${'} '.repeat(300)} }` }],
    ['too large a body', { query: `{ __typename } # ${'x'.repeat(1024 * 1024)}` }],
  ];
  const accepts = [
    'application/json',
    'application/graphql-response+json',
    '*/*',
    'text/html',
    'text/event-stream;q=0.5, application/json',
    'text/event-stream, application/json',
    'multipart/mixed, application/graphql-response+json;q=0.1',
    'application/json;q=0, */*',
    'application/json;q=0.8, application/graphql-response+json;q=0.9',
    'application/json; charset=utf-16',
    'APPLICATION/JSON; Charset="UTF-8"',
    'application/*',
    '',
  ];
  const others: Record<string, string>[] = [
    { 'accept-encoding': 'br' },
    { 'accept-encoding': 'gzip, br;q=0.1' },
    { 'accept-encoding': 'identity' },
    { 'accept-encoding': 'identity;q=0, *;q=0' },
    { authorization: NOBODY },
    { origin: 'http://localhost' },
    { origin: 'https://example.com' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { cookie: 'chronoverse_session=no', authorization: '' },
    { host: 'example.com' },
    { 'x-forwarded-proto': 'https' },
    { 'last-event-id': 'x' },
    { 'content-encoding': 'gzip' },
  ];

  test.each(requests)('is what the engine sends, for %s', async (_, sent) => {
    const body = typeof sent === 'string' || Buffer.isBuffer(sent) ? sent : JSON.stringify(sent);
    const isStream = body.includes('subscription');
    const asked: Record<string, string>[] = [...accepts.map((accept) => ({ accept })), ...others];
    await Promise.all(
      asked.map(async (headers) => {
        if (isStream && /event|\*|^$/.test(headers.accept ?? '*')) return; // it would last
        const all = { authorization: `Bearer ${ann.token}`, ...headers };
        const [ours, usual] = await Promise.all([answer(DIRECT, body, all), answer(BY_ENGINE, body, all)]);
        expect(ours, JSON.stringify(headers)).toEqual(usual);
      }),
    );
  });
});
