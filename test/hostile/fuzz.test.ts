import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { codes, type Person, person, query, type TestApi, testApi } from '../api/support.ts';

/** Each code of an error that a client can cause. */
const CODES = [
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'NOT_FOUND',
  'BAD_REQUEST',
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  'REQUEST_ENTITY_TOO_LARGE',
  'PERSISTED_QUERY_NOT_SUPPORTED',
];

const DOCUMENTS = [
  '{ viewer { id } }',
  'query ($a: Int, $f: JobFilter) { jobs(first: $a, filter: $f) { nodes { id } } }',
  'mutation ($i: RunWorkflowInput!) { runWorkflow(input: $i) { job { id } userErrors { code } } }',
  'query A { viewer { id } } query B { system { version } }',
  'subscription { jobUpdated(jobId: "a") { id } }',
  'subscription ($a: String) { jobLogs(jobId: "a", after: $a) { text } }',
];
const nested = (depth: number, open: string, inner: string, close: string) =>
  `${open.repeat(depth)}${inner}${close.repeat(depth)}`;
const DEEP = [
  nested(3_000, '{a', '', '}'),
  nested(2_400, '{a', '', '}'),
  `{ jobs(filter: ${nested(2_400, '[', '1', ']')}) { nodes { id } } }`,
  `{ jobs(filter: ${nested(1_200, '{a:', '1', '}')}) { nodes { id } } }`,
  `query ($a: ${nested(2_400, '[', 'Int', ']')}) { viewer { id } }`,
  `query ($a: Int = ${nested(2_400, '[', '1', ']')}) { viewer { id } }`,
  `{ ${nested(1_200, '... {', '__typename', '}')} }`,
  `{ viewer @skip(if: ${nested(2_400, '[', '1', ']')}) { id } }`,
  `{ ...F0 } ${Array.from({ length: 90 }, (_, n) => `fragment F${n} on Query { ${nested(8, '... {', `...F${n + 1}`, '}')} }`).join(' ')} fragment F90 on Query { __typename }`,
  nested(100_000, '[', '', ']'),
  '('.repeat(200_000),
  '"'.repeat(10_000),
  '#'.repeat(10_000),
];

const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('\ud800', '\udfff{', '\ufeff{ viewer { id } }', '\0', '{ viewer { id } } \ud83d', ''),
);
const document = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...DOCUMENTS) },
  { weight: 2, arbitrary: fc.constantFrom(...DEEP) },
  { weight: 2, arbitrary: oddText },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom(...DOCUMENTS), fc.nat(80)).map(([text, length]) => text.slice(0, length)),
  },
);
const oddValue = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(null, true, 0, -1, 1e308, 2 ** 53, [], {}, '', 'text', [[[]]], { __proto__: null }),
);
const params = fc.record(
  {
    query: fc.oneof({ weight: 5, arbitrary: document }, oddValue),
    variables: fc.oneof(
      oddValue,
      fc.record({ a: oddValue, f: oddValue, i: oddValue }),
      fc.constantFrom<unknown>({ a: { b: { c: 1 } }, f: { status: ['X'] } }, { i: { id: '\ud800' } }),
    ),
    operationName: fc.oneof(oddValue, fc.constantFrom('A', 'B', 'C', '\ud800', 'constructor')),
    extensions: fc.oneof(oddValue, fc.constant({ persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } })),
    unknown: oddValue,
  },
  { requiredKeys: [] },
);
const json = fc.oneof(
  { weight: 6, arbitrary: params.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: oddValue.map((value) => JSON.stringify(value) ?? '') },
  { weight: 1, arbitrary: params.map((value) => JSON.stringify([value, value])) },
  {
    weight: 2,
    arbitrary: fc.tuple(params, fc.double({ min: 0, max: 1, noNaN: true })).map(([value, share]) => {
      const text = JSON.stringify(value);
      return text.slice(0, Math.floor(text.length * share));
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '{"query":"{ viewer { id } }","query":5}',
      '{"query":5,"query":"{ viewer { id } }"}',
      '\ufeff{"query":"{ viewer { id } }"}',
      '{"query":"{ viewer { id } }","variables":{"a":1e999999}}',
      `{"query":"{ viewer { id } }","variables":${'9'.repeat(10_000)}}`,
      `{"query":"{ viewer { id } }","variables":{"a":${nested(50_000, '[', '', ']')}}}`,
      nested(50_000, '{"a":', '1', '}'),
      '{"query":"\\ud800"}',
      '{"__proto__":{"query":"{ viewer { id } }"}}',
      "{'query':'{ viewer { id } }'}",
      'null',
      '',
    ),
  },
);
const form = fc
  .array(
    fc.tuple(
      fc.constantFrom('query', 'variables', 'operationName', 'extensions', 'other'),
      fc.oneof(document, oddText, json, fc.constantFrom('{', '5', '[]', 'null', '{"a":', nested(60_000, '[', '', ']'))),
    ),
    { maxLength: 5 },
  )
  .map((pairs) =>
    pairs.map(([name, value]) => `${name}=${encodeURIComponent(value.replace(/\p{Surrogate}/gu, ''))}`).join('&'),
  );
const multipart = json.map(
  (text) => `--b\r\nContent-Disposition: form-data; name="operations"\r\n\r\n${text}\r\n--b--\r\n`,
);
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const body = fc.oneof(
  { weight: 6, arbitrary: json.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: json.map((text) => Buffer.from(text, 'utf16le')) },
  { weight: 1, arbitrary: json.map((text) => Buffer.from(text, 'latin1')) },
  { weight: 1, arbitrary: bytes },
  { weight: 2, arbitrary: form.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: multipart.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(1_100_000, 'x')) },
);
const contentType = fc.oneof(
  { weight: 5, arbitrary: fc.constant('application/json') },
  fc.constantFrom(
    'Application/JSON; Charset="UTF-8"',
    'application/json; charset=utf-16le',
    'application/json; charset=\u00e4',
    'application/graphql',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=b',
    'multipart/form-data',
    'text/plain',
    'image/png',
    ';;;',
    '',
  ),
);
const accept = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('application/json', 'application/graphql-response+json', '*/*') },
  fc.constantFrom('text/event-stream', 'multipart/mixed', 'image/png', 'text/html', 'a', ';', 'application/json;q=0'),
);
const method = fc.oneof(
  { weight: 8, arbitrary: fc.constant('POST') },
  { weight: 4, arbitrary: fc.constant('GET') },
  fc.constantFrom('PUT', 'DELETE', 'PATCH', 'OPTIONS'),
);

describe('random requests', () => {
  let api: TestApi;
  let ann: Person;
  const agent = new Agent({ keepAlive: true });
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(async () => {
    agent.destroy();
    await api.close();
  });

  interface Sent {
    method: string;
    path?: string;
    headers: Record<string, string>;
    body?: Buffer;
  }

  /** Sends one request. A stream of events is read up to its first event. */
  function send({ method: name, path = '/graphql', headers, body: bytesSent }: Sent) {
    return new Promise<{ status: number; text: string; type: string }>((resolve, reject) => {
      const token = { authorization: `Bearer ${ann.token}` };
      const sent = request(new URL(path, api.url), {
        agent,
        method: name,
        headers: { ...token, ...headers, 'content-length': bytesSent?.length ?? 0 },
      });
      sent.once('error', reject);
      sent.once('response', (response) => {
        const { statusCode: status = 0, headers: received } = response;
        const type = received['content-type'] ?? '';
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => {
          text += piece;
          if (!type.startsWith('text/event-stream') || !text.includes('data:')) return;
          resolve({ status, text, type });
          response.destroy();
        });
        response.once('end', () => resolve({ status, text, type }));
        response.once('error', reject);
      });
      sent.end(bytesSent);
    });
  }

  function judge({ status, text, type }: { status: number; text: string; type: string }): void {
    expect(status).toBeLessThan(500);
    expect(text).not.toBe('');
    expect(text).not.toContain('INTERNAL_SERVER_ERROR');
    if (!type.includes('json')) return;
    const answer = JSON.parse(text);
    for (const error of answer.errors ?? []) {
      expect(error.message).not.toBe('');
      expect(CODES).toContain(error.extensions.code);
    }
    expect(answer.errors ?? answer.data).toBeDefined();
  }

  test('never make the server fail, and each has an answer with a body', async () => {
    await fc.assert(
      fc.asyncProperty(
        method,
        contentType.filter((type) => /^[\x20-\x7e]*$/.test(type)),
        accept,
        body,
        form,
        async (name, type, accepted, sentBody, search) => {
          const headers = { accept: accepted, ...(type ? { 'content-type': type } : {}) };
          if (name === 'GET') judge(await send({ method: name, path: `/graphql?${search.slice(0, 8_000)}`, headers }));
          else judge(await send({ method: name, headers, body: sentBody }));
        },
      ),
      { numRuns: 400 },
    );
    expect((await query(api, '{ viewer { id } }', { token: ann.token })).data.viewer.id).toBe(ann.id);
    expect(api.logged).toEqual([]);
  });

  test.each(DEEP.map((text, n): [number, string] => [n, text]))(
    'with a deep or long document are refused with a sentence, over HTTP and WebSocket: %s',
    async (_, text) => {
      const answer = await query(api, text, { token: ann.token });
      const [code] = codes(answer);
      expect(['BAD_REQUEST', 'GRAPHQL_PARSE_FAILED']).toContain(code);
      const message = answer.errors?.[0]?.message ?? '';
      expect(message.startsWith('Syntax Error')).toBe(code === 'GRAPHQL_PARSE_FAILED');
      const get = await send({
        method: 'GET',
        path: `/graphql?query=${encodeURIComponent(text.slice(0, 4_000))}`,
        headers: { accept: 'application/json' },
      });
      judge(get);
      const { received } = await converse([JSON.stringify({ type: 'subscribe', id: '1', payload: { query: text } })]);
      expect(JSON.stringify(received)).toContain(code);
    },
  );

  test('that are not HTTP, or not all of it, are answered with a sentence', async () => {
    const { hostname, port } = new URL(api.url);
    const talk = (text: string) =>
      new Promise<string>((resolve) => {
        let answer = '';
        const socket = connect(Number(port), hostname, () => socket.write(text));
        socket.on('data', (piece) => {
          answer += String(piece);
        });
        socket.on('error', () => undefined); // 'close' follows
        socket.once('close', () => resolve(answer));
      });
    const head = 'POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    for (const [status, text] of [
      [400, 'nonsense\r\n\r\n'],
      [400, '\0\0\0\0\r\n\r\n'],
      [400, `${head}Content-Length: abc\r\n\r\n{}`],
      [400, `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
      [400, `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
      [417, `${head}Expect: the best\r\nContent-Length: 2\r\n\r\n{}`],
      [431, `${head}X: ${'x'.repeat(20_000)}\r\n\r\n`],
    ] as const) {
      const answer = await talk(text);
      expect(answer, text.slice(0, 100)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(answer, text.slice(0, 100)).toMatch(/"message":"[^"]*\."\}/);
      expect(answer.match(/HTTP\/1.1/g), text.slice(0, 100)).toHaveLength(1);
    }
    expect(api.logged).toEqual([]);
  });

  /** Sends messages on a new socket after its init, and waits until it answered what followed. */
  async function converse(messages: (string | Buffer)[]) {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    const received: { type: string; id?: string; payload?: unknown }[] = [];
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
    const answered = new Promise<undefined>((resolve) => {
      socket.on('message', (data) => {
        const message = JSON.parse(String(data));
        received.push(message);
        if (message.id === 'last' && message.type === 'complete') resolve(undefined);
        if (message.type !== 'connection_ack') return;
        for (const sent of messages) socket.send(sent);
        socket.send(JSON.stringify({ type: 'subscribe', id: 'last', payload: { query: '{ viewer { id } }' } }));
      });
    });
    const code = await Promise.race([closed, answered]);
    socket.terminate();
    return { received, code };
  }

  test('on a WebSocket never make the server fail: each is answered, or closes the socket by a code of the protocol', async () => {
    const id = fc.oneof({ weight: 5, arbitrary: fc.constantFrom('1', '2') }, oddValue);
    const type = fc.oneof(
      { weight: 6, arbitrary: fc.constant<unknown>('subscribe') },
      fc.constantFrom<unknown>('complete', 'ping', 'pong', 'next', 'error', 'connection_ack', 'nothing'),
      oddValue,
    );
    const message = fc.oneof(
      {
        weight: 8,
        arbitrary: fc
          .record({ type, id, payload: fc.oneof({ weight: 6, arbitrary: params }, oddValue) }, { requiredKeys: [] })
          .map((value) => JSON.stringify(value)),
      },
      { weight: 1, arbitrary: json },
      { weight: 1, arbitrary: oddText },
      { weight: 1, arbitrary: bytes },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 3 }), async (messages) => {
        const { received, code } = await converse(messages);
        expect(JSON.stringify(received)).not.toContain('INTERNAL_SERVER_ERROR');
        if (code !== undefined) expect([1007, 1009, 4400, 4409, 4429]).toContain(code);
      }),
      { numRuns: 250 },
    );
    expect(api.logged).toEqual([]);
  });
});
