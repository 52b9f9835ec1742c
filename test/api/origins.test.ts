import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { parseTrustedProxies } from '../../domain/network/trusted-proxies.ts';
import { codes, type Person, person, type TestApi, testApi } from './support.ts';

const PUBLIC_URL = 'https://chronoverse.example';
const APP = 'https://app.example:8443';
const VIEWER = JSON.stringify({ query: '{ viewer { id } }' });

type Sent = Record<string, string>;
interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

describe('Where a request comes from', () => {
  let api: TestApi;
  let ann: Person;
  let port: string;
  let cookie: string;
  let token: { authorization: string };
  beforeAll(async () => {
    api = await testApi({ publicUrl: PUBLIC_URL, allowedOrigins: [APP], trustProxy: 1 });
    ann = await person(api);
    port = new URL(api.url).port;
    cookie = `chronoverse_session=${ann.token}`;
    token = { authorization: `Bearer ${ann.token}` };
  });
  afterAll(() => api.close());

  /** Without fetch, which sets Host itself. */
  async function ask(method: string, path: string, headers: Sent = {}, body = ''): Promise<Reply> {
    const asked = request(new URL(path, api.url), { method, headers, agent: false });
    asked.end(body);
    const [response] = await once(asked, 'response');
    return { status: response.statusCode, headers: response.headers, body: await text(response) };
  }
  const post = (headers: Sent = {}, body = VIEWER) =>
    ask('POST', '/graphql', { 'content-type': 'application/json', ...headers }, body);
  const viewerOf = ({ body }: Reply) => JSON.parse(body).data?.viewer?.id;

  test.each([
    ['evil.example', 'https://evil.example'],
    ['no origin of its own', 'null'],
    ['an empty one', ''],
    ['another scheme of ours', 'http://chronoverse.example'],
    ['another port of ours', 'https://chronoverse.example:444'],
    ['another port of an allowed one', 'https://app.example'],
    ['a name below ours', 'https://x.chronoverse.example'],
    ['a name that begins like ours', 'https://chronoverse.example.evil.example'],
    ['a user that looks like ours', 'https://chronoverse.example@evil.example'],
    ['another program on this machine', 'http://127.0.0.1:3000'],
    ['a name that begins like loopback', 'http://localhost.evil.example'],
    ['this machine over TLS', 'https://127.0.0.1:PORT'],
    ['a file', 'file://'],
    ['an extension', 'chrome-extension://abcdefghijklmnop'],
    ['two at once', `${PUBLIC_URL}, https://evil.example`],
    ['a path', `${PUBLIC_URL}/path`],
  ])('a page of %s is refused, whatever it sends along', async (_, named) => {
    const origin = named.replace('PORT', port);
    const along: Sent[] = [
      {},
      { cookie },
      token,
      { 'sec-fetch-site': 'same-origin' },
      { host: 'evil.example', ...token },
    ];
    for (const more of along) {
      const reply = await post({ origin, ...more });
      expect(reply.status).toBe(403);
      const [error] = JSON.parse(reply.body).errors;
      expect(error.extensions).toEqual({ code: 'FORBIDDEN' });
      expect(error.message).toMatch(/ALLOWED_ORIGINS.*PUBLIC_URL/);
      expect(reply.headers['access-control-allow-origin']).toBeUndefined();
      await expect(upgrade({ origin, ...more })).rejects.toThrow('403');
    }
    expect((await ask('GET', '/health', { origin })).status).toBe(403);
    expect((await ask('GET', `/logs/${ann.id}`, { origin, ...token })).status).toBe(403);
    const preflight = { origin, 'access-control-request-method': 'POST' };
    expect((await ask('OPTIONS', '/graphql', preflight)).status).toBe(403);
  });

  test.each([
    ['PUBLIC_URL', PUBLIC_URL],
    ['PUBLIC_URL as a browser may write it', 'HTTPS://Chronoverse.Example.:443'],
    ['ALLOWED_ORIGINS', APP],
    ['the address that was called', 'http://127.0.0.1:PORT'],
    ['another name of this machine', 'http://localhost:PORT'],
  ])('a page of %s is served and may read the answer', async (_, named) => {
    const origin = named.replace('PORT', port);
    const reply = await post({ origin, ...token, 'sec-fetch-site': 'cross-site' });
    expect(viewerOf(reply)).toBe(ann.id);
    expect(reply.headers).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      vary: expect.stringContaining('Origin'),
    });
    expect(viewerOf(await post({ origin, cookie }))).toBe(ann.id);
    const log = await ask('GET', `/logs/${ann.id}`, { origin, ...token });
    expect([log.status, log.headers['access-control-allow-origin']]).toEqual([404, origin]);
    expect(log.headers['access-control-expose-headers']).toContain('Log-Cursor');
    expect(String(log.headers.vary)).toBe('Origin, Accept, Accept-Encoding');
    (await upgrade({ origin })).terminate();
  });

  test('a preflight request is answered with what a page of an allowed origin may send', async () => {
    for (const path of ['/graphql', `/logs/${ann.id}`]) {
      const reply = await ask('OPTIONS', path, {
        origin: APP,
        host: 'api.internal', // the request itself will have a token
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,traceparent',
      });
      expect([reply.status, reply.body]).toEqual([204, '']);
      expect(reply.headers).toMatchObject({
        'access-control-allow-origin': APP,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': 'GET, HEAD, POST',
        'access-control-allow-headers': 'authorization,content-type,traceparent',
        'access-control-max-age': '7200',
        vary: 'Origin, Access-Control-Request-Headers',
      });
    }
    const stream = await post(
      { origin: APP, accept: 'text/event-stream' },
      JSON.stringify({ query: 'subscription { workflowUpdated { id } }' }),
    );
    expect(stream.headers['access-control-allow-origin']).toBe(APP);
  });

  test.each([
    'evil.example',
    'evil.example:PORT',
    '10.9.8.7',
    'localhost.evil.example',
    'x@localhost',
    'localhost,evil',
  ])('under the name %s only a client with a token is served', async (named) => {
    const host = named.replace('PORT', port);
    for (const path of ['/', '/graphql', '/graphql?query={__typename}', `/logs/${ann.id}`, '/other']) {
      const reply = await ask('GET', path, { host, cookie, accept: 'text/html' });
      expect([path, reply.status]).toEqual([path, 421]);
    }
    const without: Sent[] = [{}, { cookie }, { authorization: 'Basic eDp5' }];
    for (const headers of without) {
      const reply = await post({ host, ...headers });
      expect(reply.status).toBe(421);
      expect(JSON.parse(reply.body).errors[0].message).toContain('PUBLIC_URL');
    }
    // A proxy has put its own name there: no other page has this origin.
    expect(viewerOf(await post({ host, cookie, origin: PUBLIC_URL }))).toBe(ann.id);
    const madeUp = await post({ host, authorization: `Bearer cvs_${'a'.repeat(43)}` });
    expect(codes(JSON.parse(madeUp.body))).toEqual(['UNAUTHENTICATED']);
    expect(viewerOf(await post({ host, ...token }))).toBe(ann.id);
    expect((await ask('GET', '/health', { host })).status).toBe(200);
  });

  test.each([
    'LOCALHOST:1',
    '127.0.0.2',
    '[::1]:5000',
    'localhost.',
    'Chronoverse.Example.',
    'chronoverse.example:8080',
  ])('the name %s is known', async (host) => expect((await post({ host })).status).toBe(200));

  test('a page opened under a name of this machine and another port is served under that name only', async () => {
    const host = 'localhost:9999'; // a tunnel, or a port that a container publishes
    expect((await post({ host, origin: 'http://localhost:9999' })).status).toBe(200);
    expect((await post({ host, origin: 'http://localhost:9998' })).status).toBe(403);
    const forwarded = { host, 'x-forwarded-proto': 'https' };
    expect((await post({ ...forwarded, origin: 'https://localhost:9999' })).status).toBe(200);
    expect((await post({ ...forwarded, origin: 'http://localhost:9999' })).status).toBe(403);
  });

  test('a request with several host names, or with one in its request line, is not served', async () => {
    const send = async (head: string) => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.end(`${head}\r\nContent-Type: application/json\r\nContent-Length: ${VIEWER.length}\r\n\r\n${VIEWER}`);
      return Number((await text(socket)).split(' ')[1]);
    };
    expect(await send('POST /graphql HTTP/1.1\r\nHost: localhost\r\nHost: evil.example')).toBe(400);
    expect(await send('POST http://evil.example/graphql HTTP/1.1\r\nHost: localhost')).not.toBe(200);
    expect(await send('POST //evil.example/graphql HTTP/1.1\r\nHost: localhost')).not.toBe(200);
    expect(await send('POST /graphql HTTP/1.0')).toBe(421);
  });

  test('a cross-site request without an Origin is refused', async () => {
    for (const site of ['cross-site', 'same-site']) {
      const reply = await ask('GET', '/graphql?query={viewer{id}}', { cookie, 'sec-fetch-site': site });
      expect(reply.status).toBe(403);
    }
  });

  test('a WebSocket under an unknown name accepts a token, but no cookie', async () => {
    const host = 'api.internal';
    const init = async (headers: Sent, payload?: object) => {
      const socket = await upgrade({ ...headers });
      const answered = once(socket, 'message').then(([data]) => JSON.parse(String(data)).type);
      const closed = once(socket, 'close').then(([code]) => code);
      socket.send(JSON.stringify({ type: 'connection_init', ...(payload ? { payload } : {}) }));
      const outcome = await Promise.race([answered, closed]);
      socket.terminate();
      return outcome;
    };
    expect(await init({ host }, token)).toBe('connection_ack');
    expect(await init({ host })).toBe(4403);
    expect(await init({ host, cookie })).toBe(4403);
    expect(await init({ host, cookie, origin: PUBLIC_URL })).toBe('connection_ack');
    expect(await init({ host, cookie, origin: APP })).toBe(4403);
    expect(await init({ cookie })).toBe('connection_ack');
    expect(await init({ cookie }, { authorization: 'Bearer nonsense' })).toBe(4403);
    expect(await init({ cookie }, { authorization: { toString: 1 } })).toBe(4403);
  });

  test('over https the cookie is bound to this host and to https, and no other is accepted', async () => {
    const input = { email: 'secure@example.com', password: 'a password for ann 1' };
    const signUp = JSON.stringify({
      query: 'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id } userErrors { message } } }',
      variables: { input },
    });
    const secure = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https, http' };
    const signedUp = await post(secure, signUp);
    const set = String(signedUp.headers['set-cookie']);
    expect(set).toMatch(
      /^__Host-chronoverse_session=cvs_[\w-]{43}; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure$/,
    );
    expect(signedUp.headers['strict-transport-security']).toBe('max-age=31536000');
    const id = JSON.parse(signedUp.body).data.signUp.user.id;
    const bound = set.split(';')[0] ?? '';
    const plain = bound.replace('__Host-', '');
    expect(viewerOf(await post({ ...secure, cookie: `${plain.replace(/=.*/, '=tossed')}; ${bound}` }))).toBe(id);
    expect(viewerOf(await post({ host: 'chronoverse.example', cookie: bound }))).toBe(id);
    expect(JSON.parse((await post({ ...secure, cookie: plain })).body)).toEqual({ data: { viewer: null } });
    expect(JSON.parse((await post({ cookie: bound })).body)).toEqual({ data: { viewer: null } });
    expect((await post({ 'x-forwarded-proto': 'http, https' })).headers['strict-transport-security']).toBeUndefined();
  });

  test('no page can frame an answer, and no answer is a page', async () => {
    for (const path of ['/health', '/', '/other', '/graphql?query={__typename}']) {
      const { headers } = await ask('GET', path);
      expect(headers['content-security-policy']).toBe("default-src 'none'; frame-ancestors 'none'");
      expect([headers['x-frame-options'], headers['x-content-type-options']]).toEqual(['DENY', 'nosniff']);
    }
    const page = await ask('GET', '/graphql', { accept: 'text/html' });
    expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
  });

  /** Resolves when the socket is open, and rejects with the status of a refusal. */
  async function upgrade(headers: Sent): Promise<WebSocket> {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws', { headers });
    await once(socket, 'open');
    return socket;
  }
});

describe('Without settings', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi();
  });
  afterAll(() => api.close());

  test('no client is trusted as a proxy', async () => {
    const response = await fetch(api.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' },
      body: VIEWER,
    });
    expect([response.status, response.headers.get('strict-transport-security')]).toEqual([200, null]);
  });

  test('the listening address is the only origin', async () => {
    const { origin } = new URL(api.url);
    const status = async (from: string) =>
      (
        await fetch(api.url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', origin: from },
          body: VIEWER,
        })
      ).status;
    expect([await status(origin), await status(PUBLIC_URL), await status('http://localhost')]).toEqual([200, 403, 403]);
  });
});

describe('TRUST_PROXY', () => {
  const credentials = { email: 'a@example.com', password: 'wrong password 1' };
  const SIGN_IN = JSON.stringify({
    query: 'mutation ($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }',
    variables: { input: credentials },
  });

  test('decides to whose limit a request counts', async () => {
    const signIns = async (trustProxy: NonNullable<Parameters<typeof testApi>[0]>['trustProxy'], from: string[]) => {
      const limits = {
        signInsPerAccountPerMinute: 1_000,
        signInsPerAddressPerMinute: 1,
        signUpsPerAddressPerHour: 1_000,
      };
      const api = await testApi({ trustProxy, limits });
      const outcomes: boolean[] = [];
      for (const forwarded of from) {
        const response = await fetch(api.url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-forwarded-for': forwarded },
          body: SIGN_IN,
        });
        outcomes.push(!(await response.text()).includes('RATE_LIMITED'));
      }
      await api.close();
      return outcomes;
    };
    const made = ['198.51.100.1', '198.51.100.2'];
    expect(await signIns(0, made)).toEqual([true, false]);
    expect(await signIns(1, made)).toEqual([true, true]);
    expect(await signIns(1, ['6.6.6.6, 198.51.100.1', '7.7.7.7, 198.51.100.1'])).toEqual([true, false]);
  });
});

describe('Behind a proxy that puts its own name into Host', () => {
  let api: TestApi;
  afterEach(() => api.close());

  const get = async (path: string, headers: Sent) => {
    const asked = request(new URL(path, api.url), { headers: { host: 'backend:4000', ...headers }, agent: false });
    asked.end();
    const [response] = await once(asked, 'response');
    response.resume();
    return response.statusCode;
  };

  test.each([
    ['in a trusted network', 'loopback', 200],
    ['that is not trusted', '10.0.0.0/8', 421],
    ['that is trusted by its number alone', '1', 421],
  ])('a browser that opens a page is served by a proxy %s', async (_, trusted, status) => {
    const trustProxy = parseTrustedProxies(trusted);
    if (typeof trustProxy === 'string') throw new Error(trustProxy);
    api = await testApi({ publicUrl: PUBLIC_URL, trustProxy });
    expect(
      await get('/graphql?query={__typename}', { accept: 'application/json', 'x-forwarded-for': '192.0.2.7' }),
    ).toBe(status);
  });

  test('without PUBLIC_URL its name is not known', async () => {
    const trustProxy = parseTrustedProxies('loopback');
    if (typeof trustProxy === 'string') throw new Error(trustProxy);
    api = await testApi({ trustProxy });
    expect(await get('/graphql?query={__typename}', { accept: 'application/json' })).toBe(421);
  });
});
