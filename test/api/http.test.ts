import { createHash } from 'node:crypto';
import { parse, validate } from 'graphql';
import { type AuditResult, serverAudits } from 'graphql-http';
import { createClient } from 'graphql-sse';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { graphiqlTabs } from '../../api/http/graphiql/tabs.ts';
import { schema } from '../../api/schema/schema.ts';
import { startApi } from '../../api/server.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { testSealer } from '../support/workers.ts';
import { codes, type Person, person, query, type TestApi, taker, testApi } from './support.ts';

describe('HTTP', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(api.url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });

  test('passes all 61 audits of GraphQL over HTTP', async () => {
    // One after the other: together they are more requests than an anonymous address may have.
    const results: AuditResult[] = [];
    for (const { fn } of serverAudits({ url: api.url })) results.push(await fn());
    expect(results.filter(({ status }) => status !== 'ok')).toEqual([]);
    expect(results).toHaveLength(61);
  });

  test('refuses requests that a browser sends for a page of another site', async () => {
    const body = JSON.stringify({ query: '{ viewer { id } }' });
    const cookie = `chronoverse_session=${ann.token}`;
    const host = new URL(api.url).host;
    const refused: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: 'https://evil.example' },
      { origin: 'null' },
    ];
    for (const headers of refused) {
      const response = await post(body, { cookie, ...headers });
      expect(response.status).toBe(403);
      expect(codes(await response.json())).toEqual(['FORBIDDEN']);
    }
    const taken: Record<string, string>[] = [
      { 'sec-fetch-site': 'same-origin', origin: `http://${host}` },
      { origin: `http://${host}` },
      {},
    ];
    for (const headers of taken) {
      const response = await post(body, { cookie, ...headers });
      expect(await response.json()).toEqual({ data: { viewer: { id: ann.id } } });
    }
    const form = await fetch(api.url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://evil.example' },
      body: new URLSearchParams({ query: 'mutation { signOut { userErrors { code } } }' }),
    });
    expect(form.status).toBe(403);
    const get = await fetch(`${api.url}?query={viewer{id}}`, {
      headers: { cookie, 'sec-fetch-site': 'cross-site', accept: 'text/html' },
    });
    expect(get.status).toBe(403);
  });

  test('forbids caching of answers, and framing by pages', async () => {
    const response = await post('{"query":"{ viewer { id } }"}', { authorization: `Bearer ${ann.token}` });
    expect(response.headers.get('cache-control')).toBe('private, no-store');
    expect(response.headers.get('x-frame-options')).toBe('DENY');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('accepts bodies up to 1 MiB, with and without a size', async () => {
    const body = JSON.stringify({ query: '{ viewer { id } }', variables: { a: 'x'.repeat(1024 * 1024) } });
    expect((await post(body)).status).toBe(413);
    const chunked = await fetch(api.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Blob([body]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    expect(
      (await post(JSON.stringify({ query: '{ viewer { id } }', variables: { a: 'x'.repeat(1_000_000) } }))).status,
    ).toBe(200);
  });

  test.each([
    ['depth', `{ workflows { nodes { ${'latestJob { workflow { '.repeat(6)} id ${'} }'.repeat(6)} } } }`, 'depth'],
    ['aliases', `{ ${Array.from({ length: 31 }, (_, n) => `a${n}: system { version }`).join(' ')} }`, 'liases'],
    ['tokens', `{ ${'__typename '.repeat(5_001)} }`, 'tokens'],
    [
      'values',
      '{ workflows(first: 100) { nodes { jobs(first: 100) { nodes { id status attempt trigger generation } } } } }',
      'values',
    ],
  ])('limits the %s of a document', async (_, document, word) => {
    const answer = await query(api, document, { token: ann.token });
    expect(answer.data ?? null).toBeNull();
    expect(answer.errors?.[0]?.message).toContain(word);
    expect(answer.errors?.[0]?.message).not.toContain('Syntax Error');
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
  });

  test('counts page sizes in variables and fragments too', async () => {
    const document = `query ($n: Int) { workflows(first: $n) { ...W } } fragment W on WorkflowConnection { nodes { jobs(first: $n) { ...J } } }
      fragment J on JobConnection { nodes { id status attempt trigger generation } }`;
    expect(codes(await query(api, document, { token: ann.token, variables: { n: 100 } }))).toEqual(['BAD_REQUEST']);
    expect(codes(await query(api, document, { token: ann.token, variables: { n: 50 } }))).toEqual([]);
  });

  test('serves GraphiQL and its examples from its own origin only', async () => {
    const response = await fetch(api.url, {
      headers: { accept: 'text/html', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
    });
    const page = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(page).toContain('mutation SignUp');
    expect(page.replaceAll(/<script[\s\S]*?<\/script>/g, '')).not.toMatch(/(?:src|href)="https?:/);
    expect(page).not.toContain('unpkg.com/graphiql');
  });

  test('sends GraphiQL compressed, and again only after a change', async () => {
    const get = (headers: Record<string, string>) => fetch(api.url, { headers: { accept: 'text/html', ...headers } });
    const [plain, pressed] = [
      await get({ 'accept-encoding': 'identity' }),
      await get({ 'accept-encoding': 'gzip, br' }),
    ];
    expect([plain, pressed].map(({ headers }) => headers.get('content-encoding'))).toEqual([null, 'gzip']);
    expect(await pressed.text()).toBe(await plain.text());
    const etag = pressed.headers.get('etag') ?? '';
    const again = await get({ 'if-none-match': etag });
    expect([again.status, await again.text()]).toEqual([304, '']);
    expect((await get({ 'if-none-match': 'W/"another"' })).status).toBe(200);
    expect(pressed.headers.get('cache-control')).toBe('private, no-cache');
  });

  test('loads the parts of GraphiQL once, compressed beforehand', async () => {
    const page = await (await fetch(api.url, { headers: { accept: 'text/html' } })).text();
    expect(page.length).toBeLessThan(20_000);
    const paths = [...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path ?? '');
    expect(paths.map((path) => path.split('.').at(-1))).toEqual(['css', 'js']);
    let loaded = 0;
    for (const path of paths) {
      const get = (encoding: string, more = {}) =>
        fetch(new URL(path, api.url), { headers: { 'accept-encoding': encoding }, ...more });
      const [plain, gzip, brotli] = [await get('identity'), await get('gzip'), await get('gzip, br;q=0.9')];
      expect([plain, gzip, brotli].map(({ headers }) => headers.get('content-encoding'))).toEqual([null, 'gzip', 'br']);
      const texts = await Promise.all([plain, gzip, brotli].map((response) => response.text()));
      expect(new Set(texts).size).toBe(1);
      expect(brotli.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      expect(brotli.headers.get('vary')).toContain('Accept-Encoding');
      loaded += Number(brotli.headers.get('content-length'));
      const head = await get('br', { method: 'HEAD' });
      expect([head.headers.get('content-length'), await head.text()]).toEqual([
        brotli.headers.get('content-length'),
        '',
      ]);
      expect((await get('br', { method: 'POST' })).status).toBe(405);
      const etag = brotli.headers.get('etag') ?? '';
      expect((await get('br', { headers: { 'if-none-match': etag } })).status).toBe(304);
    }
    expect(loaded).toBeLessThan(450_000); // it was 2,400,000 as a single page
    expect((await fetch(new URL('/graphql/graphiql-OTHER.js', api.url))).status).toBe(404);
  });

  test('allows the page of GraphiQL only its own parts and one script', async () => {
    const response = await fetch(api.url, { headers: { accept: 'text/html' } });
    const scripts = [...(await response.text()).matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
      ([, text]) => text ?? '',
    );
    const hashes = scripts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`);
    expect(response.headers.get('content-security-policy')?.split('; ')).toEqual([
      "default-src 'none'",
      `script-src 'self' ${hashes.join(' ')}`,
      "style-src 'self'",
      "img-src 'self' data:",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]);
  });

  test('opens GraphiQL with valid documents', () => {
    const documents = graphiqlTabs.map(({ query: document }) => document);
    expect(documents.length).toBeGreaterThanOrEqual(6);
    for (const document of documents) expect(validate(schema, parse(document)), document).toEqual([]);
  });

  test('reports its health, and names its endpoint', async () => {
    const health = await fetch(api.url.replace('/graphql', '/health'));
    expect([health.status, await health.json()]).toEqual([200, { status: 'UP' }]);
    expect((await fetch(api.url.replace('/graphql', '/'), { redirect: 'manual' })).headers.get('location')).toBe(
      '/graphql',
    );
    expect((await fetch(api.url.replace('/graphql', '/other'))).status).toBe(404);
  });

  test('checks its parts at most once a second, however many clients request its health', async () => {
    const asked = vi.spyOn(api.bus, 'isUp');
    const started = performance.now();
    const health = () => fetch(api.url.replace('/graphql', '/health')).then(({ status }) => status);
    expect(new Set(await Promise.all(Array.from({ length: 200 }, health)))).toEqual(new Set([200]));
    const seconds = (performance.now() - started) / 1_000;
    expect(asked.mock.calls.length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    asked.mockRestore();
  });

  test("rejects with the system's error if the port is taken", async () => {
    const port = Number(new URL(api.url).port);
    const settings = { port, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 1 };
    const { db, bus, cache } = api;
    const log = (await import('pino')).default({ level: 'silent' });
    await expect(startApi({ db, bus, cache, log, sealer: testSealer, settings })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });

  test('streams subscriptions as server-sent events, which end with an error when the token ends', async () => {
    const { token } = await person(api, 'streaming');
    const client = createClient({ url: api.url, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 });
    const stream = taker(client.iterate({ query: 'subscription { workflowUpdated { name } }' }));
    const first = stream.take();
    await expect
      .poll(async () => {
        const input = {
          name: 'streamed',
          payload: { heartbeat: {} },
          interval: 1,
          maxConsecutiveJobFailuresAllowed: 1,
        };
        await query(
          api,
          'mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }',
          { token, variables: { input } },
        );
        return Promise.race([first, new Promise((resolve) => setTimeout(resolve, 100))]);
      })
      .toEqual({ data: { workflowUpdated: { name: 'streamed' } } });
    const passedMs = stopwatch();
    await query(api, 'mutation { signOut { userErrors { code } } }', { token });
    const rest = await stream.rest();
    expect(rest.at(-1)?.errors?.[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED' } });
    expect(passedMs()).toBeLessThan(5_000);
    const nobody = taker(
      createClient({ url: api.url, retryAttempts: 0 }).iterate({ query: 'subscription { workflowUpdated { name } }' }),
    );
    expect((await nobody.take()).errors?.[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED' } });
    client.dispose();
  });
});
