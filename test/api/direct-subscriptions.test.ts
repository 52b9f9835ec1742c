import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, print } from '../support/lines.ts';
import { type Person, person, type TestApi, testApi } from './support.ts';

/** Two types of the same JSON. Only a subscription in the first is begun past the engine. */
const DIRECT = 'application/json';
const BY_ENGINE = 'application/graphql+json';

const REQUEST_ID = /"requestId":"[^"]*"/g;

describe('a stream of events that begins past the engine', () => {
  let api: TestApi;
  let ann: Person;
  let id: string;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    id = await runningJob(api, ann);
    await print(api, await numberedChunk(id, 1, 5));
    await endJob(api, ann, id, 5); // so that streams of its log end
  });
  afterAll(() => api.close());

  interface Sent {
    query: string;
    variables?: object;
    operationName?: string;
  }

  async function answer({ url, body, ...options }: { url?: string; body?: string; headers: Record<string, string> }) {
    const method = body === undefined ? 'GET' : 'POST';
    const parts = await new Promise<{ status: number | undefined; raw: string[]; body: string }>((resolve, reject) => {
      const sent = request(url ?? api.url, { method, ...options }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response
          .once('error', reject)
          .once('end', () => resolve({ status: response.statusCode, raw: response.rawHeaders, body: text }));
      });
      sent.once('error', reject).end(body);
    });
    const pairs = parts.raw.flatMap((name, n) => (n % 2 ? [] : [[name.toLowerCase(), parts.raw[n + 1] ?? '']]));
    const shown = pairs.filter(([name]) => name !== 'date').toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1));
    return { status: parts.status, headers: shown, body: parts.body.replaceAll(REQUEST_ID, '') };
  }

  const LOG = 'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { text cursor } }';
  const requests: [what: string, sent: () => Sent][] = [
    ['a log', () => ({ query: LOG, variables: { id } })],
    [
      'one of several operations',
      () => ({ query: `query A { __typename } ${LOG.replace(' (', ' B(')}`, variables: { id }, operationName: 'B' }),
    ],
    ['an object that has ended', () => ({ query: `subscription { jobUpdated(jobId: "${id}") { status } }` })],
    ['an object that nobody has', () => ({ query: LOG, variables: { id: '01900000-0000-7000-8000-000000000000' } })],
    ['a cursor of nothing', () => ({ query: LOG, variables: { id, after: 'x' } })],
    ['a variable that is missing', () => ({ query: LOG })],
    ['a field that does not exist', () => ({ query: 'subscription { nothing }' })],
    ['a document that does not parse', () => ({ query: 'subscription {' })],
    [
      'too much',
      () => ({
        query: `subscription { jobUpdated { workflow { ${'jobs(first: 100) { nodes { workflow { '.repeat(2)}jobs(first: 100) { nodes { id } }${' } } }'.repeat(2)} } } }`,
      }),
    ],
    ['too long', () => ({ query: `${LOG} # ${'x'.repeat(300_000)}`, variables: { id } })],
    ['a query', () => ({ query: '{ viewer { email } }' })],
    ['a mutation', () => ({ query: 'mutation { markAllNotificationsRead { userErrors { code } } }' })],
  ];
  const asked: Record<string, string>[] = [
    ...[
      'text/event-stream',
      '*/*',
      'text/*',
      'multipart/mixed',
      'application/json',
      'text/event-stream;q=0, */*',
      '',
      'text/html',
    ].map((accept) => ({ accept })),
    { authorization: '' },
    { authorization: `Bearer cva_${'x'.repeat(43)}` },
    { origin: 'https://example.com' },
    { origin: 'http://localhost' },
    { 'last-event-id': 'x' },
    { 'accept-encoding': 'gzip' },
    { 'content-encoding': 'gzip' },
  ];

  test.each(requests)('is what the engine begins, for %s', async (what, sent) => {
    const body = JSON.stringify(sent());
    for (const more of asked) {
      const headers = { accept: 'text/event-stream', authorization: `Bearer ${ann.token}`, ...more };
      const ours = await answer({ body, headers: { 'content-type': DIRECT, ...headers } });
      const usual = await answer({ body, headers: { 'content-type': BY_ENGINE, ...headers } });
      expect(ours, JSON.stringify(more)).toEqual(usual);
      // The length of a URL is limited, a mutation is not taken from one, and neither has a body.
      if (what === 'too long' || what === 'a mutation' || 'content-encoding' in more) continue;
      const { query, variables = {}, operationName } = sent();
      const parameters = { query, variables: JSON.stringify(variables), ...(operationName && { operationName }) };
      const byGet = await answer({ url: `${api.url}?${new URLSearchParams(parameters)}`, headers });
      expect(byGet.body, JSON.stringify(more)).toBe(usual.body);
    }
    if (what === 'a log') {
      const { body: events } = await answer({
        body,
        headers: { 'content-type': DIRECT, accept: 'text/event-stream', authorization: `Bearer ${ann.token}` },
      });
      expect(events).toMatch(/^:\n\nevent: next\nid: \S+\ndata: .*line 5 é.*\n\nevent: complete\ndata:\n\n$/);
    }
  });
});
