import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codes, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

describe('an answer over HTTP', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi({ limits: { signInsPerAccountPerMinute: 2 }, mutationsPerUserPerHour: 3 });
    ann = await person(api);
  });
  afterAll(() => api.close());

  interface Sent {
    accept?: string;
    encoding?: string;
    type?: string;
    document?: string;
    body?: string | Uint8Array<ArrayBuffer>;
    headers?: Record<string, string>;
  }

  const post = ({ accept = 'application/json', encoding = 'identity', type, document, body, headers }: Sent) =>
    fetch(api.url, {
      method: 'POST',
      headers: {
        accept,
        'accept-encoding': encoding,
        'content-type': type ?? 'application/json',
        authorization: `Bearer ${ann.token}`,
        ...headers,
      },
      body: body ?? JSON.stringify({ query: document }),
    });

  const long = '{ __schema { types { name description fields { name description } } } }';

  test.each([
    ['br', 'br'],
    ['gzip', 'gzip'],
    ['gzip;q=0.5, br', 'br'],
    ['br;q=0, gzip', 'gzip'],
    ['deflate', null],
    ['identity', null],
    ['', null],
    ['*;q=0', null],
    ['gzip, deflate, br, zstd', 'gzip'],
  ])('that is long comes in the encoding that is preferred: %s', async (encoding, expected) => {
    const plain = await (await post({ document: long })).text();
    const response = await post({ document: long, encoding });
    expect([response.status, response.headers.get('content-encoding')]).toEqual([200, expected]);
    expect(response.headers.get('vary')).toMatch(/Origin.*Accept-Encoding/);
    expect(await response.text()).toBe(plain);
    if (expected) expect(Number(response.headers.get('content-length'))).toBeLessThan(plain.length / 3);
  });

  test('that is short, or holds what a mutation made, is not compressed, and no event is', async () => {
    expect(
      (await post({ document: '{ viewer { id } }', encoding: 'gzip' })).headers.get('content-encoding'),
    ).toBeNull();
    const errors = Array.from({ length: 25 }, (_, n) => `m${n}: message`).join(' ');
    const document = `mutation { deleteVolume(input: { name: "none" }) { userErrors { ${errors} } } }`;
    const changed = await post({ document, encoding: 'gzip' });
    expect((await changed.text()).length).toBeGreaterThan(1_024);
    expect(changed.headers.get('content-encoding')).toBeNull();
    const events = await post({ document: long, accept: 'text/event-stream', encoding: 'gzip' });
    expect(events.headers.get('content-type')).toBe('text/event-stream');
    expect(await events.text()).toContain('event: complete');
    expect(['gzip', 'br']).not.toContain(events.headers.get('content-encoding'));
  });

  test('that the client does not accept is refused with a sentence, before anything changes', async () => {
    const input = '{ name: "unseen", payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 }';
    const document = `mutation { createWorkflow(input: ${input}) { workflow { id } } }`;
    for (const accept of ['image/png', 'application/json;q=0', 'text/plain, image/*']) {
      const response = await post({ accept, document });
      expect(response.status).toBe(406);
      expect((await response.json()).errors[0]).toMatchObject({
        message: expect.stringContaining('accept one of them'),
        extensions: { code: 'BAD_REQUEST' },
      });
    }
    expect((await query(api, '{ workflows { nodes { id } } }', { token: ann.token })).data.workflows.nodes).toEqual([]);
    const stream = await post({ document: 'subscription { workflowUpdated { id } }' });
    expect(stream.status).toBe(406);
    expect((await stream.json()).errors[0].message).toContain('text/event-stream');
  });

  const JSON_TYPE = 'application/json; charset=utf-8';
  const GRAPHQL_TYPE = 'application/graphql-response+json; charset=utf-8';
  test.each([
    ['application/graphql-response+json; charset=utf-8, application/json; charset=utf-8', GRAPHQL_TYPE],
    ['application/json; Charset="UTF-8"', JSON_TYPE],
    ['application/graphql-response+json;q=0.5, application/json;q=0.9', JSON_TYPE],
    ['application/json;q=0.5,application/graphql-response+json', GRAPHQL_TYPE],
    ['multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json;q=0.9', GRAPHQL_TYPE],
    ['application/json;q=0, */*', GRAPHQL_TYPE],
    ['text/html, */*;q=0.1', JSON_TYPE],
    ['application/*', JSON_TYPE],
    ['*', JSON_TYPE],
    [' , ', JSON_TYPE],
    ['text/event-stream; charset=utf-8', 'text/event-stream'],
  ])('comes in the type that the client prefers: %s', async (accept, expected) => {
    const response = await post({ accept, document: '{ viewer { id } }' });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, expected]);
    expect(await response.text()).toContain(ann.id);
  });

  test.each([
    'application/json, text/event-stream;q=0',
    'text/event-stream;q=0, */*',
    'application/json; charset=utf-16',
  ])('is no stream of events for a client that does not accept those: %s', async (accept) => {
    const response = await post({ accept, document: 'subscription { workflowUpdated { id } }' });
    expect(response.status).toBe(406);
    expect(codes(await response.json())).toEqual(['BAD_REQUEST']);
  });

  test.each([
    ['no operation of that name', 'query A { viewer { id } } query B { viewer { id } }', 'C', /named "C": it has A, B/],
    ['operations without a name', '{ viewer { id } }', 'C', /named "C": its operation has no name/],
    ['several operations', 'query A { viewer { id } } query B { viewer { id } }', undefined, /`operationName`/],
    ['fragments alone', 'fragment A on User { id }', undefined, /has no operation/],
  ])('to a document with %s says so, over HTTP and on a WebSocket', async (_, document, operationName, message) => {
    const response = await post({ accept: GRAPHQL_TYPE, body: JSON.stringify({ query: document, operationName }) });
    expect(response.status).toBe(400);
    const error = { message: expect.stringMatching(message), extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } };
    expect((await response.json()).errors).toEqual([error]);
    const client = socketOf(api, ann.token);
    const sent = { query: document, operationName };
    await expect(taker(client.iterate(sent)).take()).rejects.toEqual([error]);
    await client.dispose();
  });

  test('to an empty name of an operation is as without one', async () => {
    const response = await post({ body: JSON.stringify({ query: '{ viewer { id } }', operationName: '' }) });
    expect(await response.json()).toEqual({ data: { viewer: { id: ann.id } } });
    const client = socketOf(api, ann.token);
    const sent = { query: '{ viewer { id } }', operationName: '' };
    expect(await taker(client.iterate(sent)).take()).toEqual({ data: { viewer: { id: ann.id } } });
    await client.dispose();
  });

  test('to bytes that are not UTF-8 is BAD_REQUEST, and a mark of the byte order is left out', async () => {
    const text = JSON.stringify({ query: 'query ($id: ID!) { workflow(id: $id) { id } }', variables: { id: 'ä' } });
    const sent = (body: Buffer) => post({ body: new Uint8Array(body) });
    const refused = await sent(Buffer.from(text, 'latin1'));
    expect(refused.status).toBe(400);
    expect((await refused.json()).errors[0]).toMatchObject({
      message: expect.stringContaining('UTF-8'),
      extensions: { code: 'BAD_REQUEST' },
    });
    expect(await (await sent(Buffer.from(`\ufeff${text}`))).json()).toEqual({ data: { workflow: null } });
  });

  test('to a subscription without its field is a refusal, over SSE and on a WebSocket', async () => {
    const documents = [
      'subscription { workflowUpdated @skip(if: true) { id } }',
      'subscription ($no: Boolean = false) { ...F } fragment F on Subscription { workflowUpdated @include(if: $no) { id } }',
      'subscription { ... @skip(if: true) { workflowUpdated { id } } }',
    ];
    const client = socketOf(api, ann.token);
    for (const document of documents) {
      const stream = await post({ accept: 'text/event-stream', document });
      expect(await stream.text()).toContain('"code":"GRAPHQL_VALIDATION_FAILED"');
      await expect(taker(client.iterate({ query: document })).take()).rejects.toMatchObject([
        { message: expect.stringContaining('must not be skipped'), extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } },
      ]);
    }
    await client.dispose();
    expect(api.logged).toEqual([]);
  });

  test('counts levels of fields, and not the fragments around them', async () => {
    const fields = 'latestJob { workflow { latestJob { workflow { latestJob { workflow { id } } } } } }';
    const around = `... on Workflow { ...A } } } } fragment A on Workflow { ...B } fragment B on Workflow { ... { ${fields} } }`;
    expect(codes(await query(api, `{ workflows { nodes { ${around}`, { token: ann.token }))).toEqual([]);
    const deep = around.replace('id', 'latestJob { workflow { latestJob { workflow { id } } } }');
    expect((await query(api, `{ workflows { nodes { ${deep}`, { token: ann.token })).errors).toEqual([
      { message: expect.stringContaining('depth of 12 fields'), extensions: { code: 'BAD_REQUEST' } },
    ]);
    const nested = (levels: number) => `{ ${'... { '.repeat(levels)} viewer { id } ${'} '.repeat(levels)} }`;
    expect(codes(await query(api, nested(48), { token: ann.token }))).toEqual([]);
    expect((await query(api, nested(49), { token: ann.token })).errors).toEqual([
      { message: expect.stringContaining('50 levels deep'), extensions: { code: 'BAD_REQUEST' } },
    ]);
  });

  test.each([
    ['a type that is not taken', { type: 'text/plain' }, 'Content-Type'],
    ['a file upload', { type: 'multipart/form-data; boundary=b' }, 'Content-Type'],
    ['another charset', { type: 'application/json; charset=utf-16' }, 'UTF-8'],
    ['a compressed body', { headers: { 'content-encoding': 'gzip' } }, 'compressed'],
  ])('to %s is a refusal with a sentence', async (_, sent, word) => {
    const response = await post({ ...sent, document: '{ viewer { id } }' });
    expect(response.status).toBe(415);
    const answer = await response.json();
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
    expect(answer.errors[0].message).toContain(word);
    for (const type of ['Application/JSON; Charset="UTF-8"', 'application/graphql+json'])
      expect((await post({ type, document: '{ viewer { id } }' })).status).toBe(200);
  });

  test.each([
    ['variables that are not JSON', 'query={viewer{id}}&variables={', '`variables`'],
    ['variables that are no object', 'query={viewer{id}}&variables=[1]', '`variables`'],
    ['variables that are nested too deeply', `query={viewer{id}}&variables=${'['.repeat(5_000)}`, 'nested'],
    ['extensions that are not JSON', 'query={viewer{id}}&extensions=x', '`extensions`'],
    ['two documents', 'query={viewer{id}}&query={viewer{id}}', '`query`'],
    ['no document', 'operationName=A', '`query`'],
  ])('to a URL or a form with %s is BAD_REQUEST', async (_, text, word) => {
    const get = await fetch(`${api.url}?${text}`, { headers: { authorization: `Bearer ${ann.token}` } });
    const form = await post({ type: 'application/x-www-form-urlencoded', body: text });
    for (const response of [get, form]) {
      expect(response.status).toBe(400);
      const answer = await response.json();
      expect(codes(answer)).toEqual(['BAD_REQUEST']);
      expect(answer.errors[0].message).toContain(word);
    }
  });

  test('to a mutation by GET is 405', async () => {
    const text = 'query=mutation{signOut{userErrors{code}}}';
    const response = await fetch(`${api.url}?${text}`, { headers: { authorization: `Bearer ${ann.token}` } });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
    expect(codes(await response.json())).toEqual(['BAD_REQUEST']);
    expect((await query(api, '{ viewer { id } }', { token: ann.token })).data.viewer.id).toBe(ann.id);
  });

  test('to the hash of a document makes clients send the document', async () => {
    const extensions = { persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } };
    const refused = [{ message: 'PersistedQueryNotSupported', extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } }];
    const url = `${api.url}?operationName=A&variables={}&extensions=${JSON.stringify(extensions)}`;
    const get = await fetch(url, { headers: { accept: 'application/graphql-response+json' } });
    expect([get.status, await get.json()]).toEqual([200, { errors: refused }]);
    const hashed = await post({ body: JSON.stringify({ operationName: 'A', variables: {}, extensions }) });
    expect([hashed.status, await hashed.json()]).toEqual([200, { errors: refused }]);
    const whole = await post({ body: JSON.stringify({ query: '{ viewer { id } }', extensions }) });
    expect(await whole.json()).toEqual({ data: { viewer: { id: ann.id } } });
  });

  test('of RATE_LIMITED says when to try again, in a header and in its extensions', async () => {
    const signIn = (email: string) =>
      post({ document: `mutation { signIn(input: { email: "${email}", password: "wrong password" }) { token } }` });
    const change = () => post({ document: 'mutation { deleteVolume(input: { name: "none" }) { deletedVolumeName } }' });
    for (const run of [() => signIn(ann.email), change]) {
      let response = await run();
      let answer = await response.json();
      for (let tries = 0; tries < 5 && codes(answer)[0] !== 'RATE_LIMITED'; tries += 1) {
        response = await run();
        answer = await response.json();
      }
      const [error] = answer.errors;
      expect(error.extensions).toEqual({ code: 'RATE_LIMITED', retryAfterSeconds: expect.any(Number) });
      expect(response.headers.get('retry-after')).toBe(String(error.extensions.retryAfterSeconds));
    }
  });

  test('at /schema.graphql is the schema, as the project keeps it', async () => {
    const url = new URL('/schema.graphql', api.url);
    const written = await readFile('schema.graphql', 'utf8');
    const response = await fetch(url);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
    expect(await response.text()).toBe(written);
    expect(written).toContain('scalar DateTime @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")');
    const etag = response.headers.get('etag') ?? '';
    expect((await fetch(url, { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await fetch(url, { method: 'POST' })).status).toBe(405);
    const hidden = await testApi({ introspection: false });
    const refused = await fetch(new URL('/schema.graphql', hidden.url));
    expect([refused.status, await refused.json()]).toEqual([
      404,
      { message: expect.stringContaining('INTROSPECTION') },
    ]);
    await hidden.close();
  });
});
