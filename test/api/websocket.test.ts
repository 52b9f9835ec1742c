import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { stopwatch } from '../support/stopwatch.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

describe('a WebSocket', () => {
  let api: TestApi;
  let ann: Person;
  const sockets: Raw[] = [];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterEach(() => {
    for (const { socket } of sockets.splice(0)) socket.terminate();
  });
  afterAll(() => api.close());

  /** A bare client with the received messages and the close code. */
  interface Raw {
    socket: WebSocket;
    send(message: object): void;
    received: { type: string; id?: string; payload?: unknown }[];
    closed: Promise<number>;
  }

  async function raw(headers: Record<string, string> = {}): Promise<Raw> {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws', { headers });
    const received: Raw['received'] = [];
    socket.on('message', (data) => received.push(JSON.parse(String(data))));
    const opened: Raw = {
      socket,
      send: (message) => socket.send(JSON.stringify(message)),
      received,
      closed: new Promise((resolve) => socket.once('close', resolve)),
    };
    sockets.push(opened);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return opened;
  }

  async function connected(token: string): Promise<Raw> {
    const socket = await raw();
    socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } });
    await expect.poll(() => socket.received[0]?.type).toBe('connection_ack');
    return socket;
  }

  const subscribe = (id: string, document: string) => ({ type: 'subscribe', id, payload: { query: document } });

  test('runs queries and subscriptions under the token of connection_init', async () => {
    const client = socketOf(api, ann.token);
    const viewer = taker(client.iterate({ query: '{ viewer { email } }' }));
    expect(await viewer.rest()).toEqual([{ data: { viewer: { email: ann.email } } }]);
    await client.dispose();
  });

  test('with an invalid token is closed with 4403', async () => {
    for (const authorization of ['Bearer nonsense', 'nonsense', `Bearer cvs_${'a'.repeat(43)}`]) {
      const socket = await raw();
      socket.send({ type: 'connection_init', payload: { authorization } });
      expect(await socket.closed).toBe(4403);
    }
  });

  test('runs under the token of the upgrade if connection_init has none', async () => {
    const bob = await person(api, 'bob');
    const viewer = async (headers: Record<string, string>, payload?: object) => {
      const socket = await raw(headers);
      socket.send({ type: 'connection_init', payload });
      await expect.poll(() => socket.received[0]?.type).toBe('connection_ack');
      socket.send(subscribe('1', '{ viewer { email } }'));
      await expect.poll(() => socket.received[1]?.payload).toBeDefined();
      return socket.received[1]?.payload;
    };
    const authorization = `Bearer ${ann.token}`;
    const asAnn = { data: { viewer: { email: ann.email } } };
    const asBob = { data: { viewer: { email: bob.email } } };
    expect(await viewer({ authorization })).toEqual(asAnn);
    expect(await viewer({ authorization }, { unrelated: true })).toEqual(asAnn);
    expect(await viewer({ authorization }, { authorization: null })).toEqual(asAnn);
    expect(await viewer({ authorization }, { authorization: `Bearer ${bob.token}` })).toEqual(asBob);
    expect(await viewer({ authorization, cookie: `chronoverse_session=${bob.token}` })).toEqual(asAnn);
    const elsewhere = { host: 'chronoverse.example.com' };
    expect(await viewer({ authorization, ...elsewhere })).toEqual(asAnn);
    for (const headers of [{ authorization: 'Bearer nonsense' }, { authorization: 'Basic YTpi' }, elsewhere]) {
      const socket = await raw({ cookie: `chronoverse_session=${ann.token}`, ...headers });
      socket.send({ type: 'connection_init' });
      expect(await socket.closed).toBe(4403);
    }
    await expect(raw({ authorization, origin: 'https://evil.example' })).rejects.toThrow('403');
  });

  test('under the token of the upgrade is closed with 4403 when that ends', async () => {
    const { token } = await person(api, 'leaving');
    const socket = await raw({ authorization: `Bearer ${token}` });
    socket.send({ type: 'connection_init' });
    await expect.poll(() => socket.received[0]?.type).toBe('connection_ack');
    await query(api, 'mutation { signOut { userErrors { code } } }', { token });
    expect(await socket.closed).toBe(4403);
  });

  test('answers the hash of a document with what makes clients send the document', async () => {
    const socket = await connected(ann.token);
    const extensions = { persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } };
    socket.send({ type: 'subscribe', id: '1', payload: { extensions } });
    await expect
      .poll(() => socket.received[1])
      .toMatchObject({
        id: '1',
        type: 'error',
        payload: [{ message: 'PersistedQueryNotSupported', extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } }],
      });
    socket.send({ type: 'subscribe', id: '2', payload: { query: '{ viewer { id } }', extensions } });
    await expect.poll(() => socket.received[2]?.payload).toEqual({ data: { viewer: { id: ann.id } } });
  });

  test('closes with 4400 what only servers send', async () => {
    for (const type of ['next', 'error', 'connection_ack']) {
      const socket = await connected(ann.token);
      socket.send({ type, id: '1', payload: type === 'error' ? [{ message: 'x' }] : {} });
      expect(await socket.closed).toBe(4400);
    }
    expect(api.logged).toEqual([]);
  });

  test('with an authorization that is not a string is closed with 4403, and logs no failure', async () => {
    const odd: unknown[] = [
      0,
      5,
      true,
      false,
      {},
      [],
      ['Bearer'],
      { toString: 1 },
      { toString: null, valueOf: null },
      [[[]]],
    ];
    for (const authorization of odd)
      for (const name of ['authorization', 'Authorization']) {
        const socket = await raw();
        socket.send({ type: 'connection_init', payload: { [name]: authorization } });
        expect(await socket.closed).toBe(4403);
      }
    for (const payload of [5, 'text', true, ['a']]) {
      const socket = await raw();
      socket.send({ type: 'connection_init', payload });
      expect(await socket.closed).toBe(4400);
    }
    expect(api.logged).toEqual([]);
  });

  test('without a token gets UNAUTHENTICATED where one is needed, and stays open', async () => {
    const client = socketOf(api);
    const [refused] = await taker(client.iterate({ query: 'subscription { workflowUpdated { id } }' }))
      .rest()
      .catch((errors) => [{ errors }]);
    expect(refused?.errors?.[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED' } });
    expect(await taker(client.iterate({ query: '{ viewer { id } }' })).rest()).toEqual([{ data: { viewer: null } }]);
    await client.dispose();
  });

  test('is closed with 4403 within 5 seconds of the end of its token', async () => {
    const { token } = await person(api, 'leaving');
    const socket = await connected(token);
    socket.send(subscribe('1', 'subscription { workflowUpdated { id } }'));
    await query(api, 'mutation { signOut { userErrors { code } } }', { token });
    const passedMs = stopwatch();
    expect(await socket.closed).toBe(4403);
    expect(passedMs()).toBeLessThan(5_000);
  });

  test('refuses operations at once when its token has ended', async () => {
    const { token } = await person(api, 'left');
    const socket = await connected(token);
    await query(api, 'mutation { signOut { userErrors { code } } }', { token });
    socket.send(subscribe('1', '{ workflows { nodes { id } } }'));
    expect(await socket.closed).toBe(4403);
    expect(JSON.stringify(socket.received)).not.toContain('"data"');
  });

  test('survives documents that do not parse, do not validate or exceed the limits', async () => {
    const socket = await connected(ann.token);
    const documents = [
      '{',
      '{ nothing }',
      `{ ${'__typename '.repeat(5_001)} }`,
      '{ workflows(first: 100) { nodes { jobs(first: 100) { nodes { id status attempt trigger generation } } } } }',
      'subscription { workflowUpdated { jobs(first: 100) { nodes { logs(first: 1000) { nodes { text } } } } } }',
    ];
    for (const [n, document] of documents.entries()) socket.send(subscribe(String(n), document));
    socket.send(subscribe('good', '{ viewer { id } }'));
    await expect.poll(() => socket.received.find(({ type, id }) => type === 'complete' && id === 'good')).toBeDefined();
    for (const n of documents.keys()) {
      const answer = socket.received.find(({ id }) => id === String(n));
      expect(JSON.stringify(answer?.payload)).toMatch(/GRAPHQL_PARSE_FAILED|GRAPHQL_VALIDATION_FAILED|BAD_REQUEST/);
      expect(JSON.stringify(answer?.payload)).not.toContain('"http"');
    }
    expect(socket.received.find(({ id }) => id === '0')?.payload).toEqual([
      {
        message: 'Syntax Error: Expected Name, found <EOF>.',
        locations: [{ line: 1, column: 2 }],
        extensions: { code: 'GRAPHQL_PARSE_FAILED' },
      },
    ]);
    expect(socket.socket.readyState).toBe(WebSocket.OPEN);
  });

  test('uses an id again as soon as it is completed, and answers each operation that is not', async () => {
    const socket = await connected(ann.token);
    const long = `# ${'x'.repeat(2_000)}\n`; // the message is kept apart from the library
    for (let round = 0; round < 30; round += 1) {
      const id = `id ${round % 3}`;
      socket.received.length = 0;
      socket.send(subscribe(id, 'subscription { workflowUpdated { id } }'));
      socket.send({ type: 'complete', id });
      // Completed while it waits.
      socket.send(subscribe(id, `${long}subscription { workflowUpdated { id } }`));
      socket.send({ type: 'complete', id });
      socket.send(subscribe(id, `${long}{ viewer { id } }`));
      await expect.poll(() => socket.received.map(({ type }) => type)).toEqual(['next', 'complete']);
      expect(socket.received[0]).toMatchObject({ id, payload: { data: { viewer: { id: ann.id } } } });
    }
    // All of them are over.
    for (let n = 0; n < 100; n += 1) socket.send(subscribe(String(n), 'subscription { workflowUpdated { id } }'));
    socket.send(subscribe('one more', '{ viewer { id } }'));
    await expect.poll(() => socket.received.find(({ id }) => id === 'one more')?.type).toBe('error');
    expect(socket.received.filter(({ type }) => type === 'error')).toHaveLength(1);
    socket.send(subscribe('0', '{ viewer { id } }'));
    expect(await socket.closed).toBe(4409);
  });

  test('has at most 100 operations open', async () => {
    const socket = await connected(ann.token);
    for (let n = 0; n < 101; n += 1) socket.send(subscribe(String(n), 'subscription { workflowUpdated { id } }'));
    await expect.poll(() => socket.received.find(({ type }) => type === 'error')).toMatchObject({ id: '100' });
    socket.send({ type: 'complete', id: '0' });
    // Its place is free once the operation has ended, which it may still have to begin.
    let tries = 0;
    const again = () => {
      tries += 1;
      socket.send(subscribe(`again ${tries}`, '{ viewer { id } }'));
      return socket.received.find(({ id, type }) => id?.startsWith('again') && type === 'next');
    };
    await expect.poll(again).toBeDefined();
  });

  test('uses only the close codes of the protocol', async () => {
    const early = await raw();
    early.send(subscribe('1', '{ viewer { id } }'));
    expect(await early.closed).toBe(4401);
    const malformed = await raw();
    malformed.socket.send('nonsense');
    expect(await malformed.closed).toBe(4400);
    const twice = await connected(ann.token);
    twice.send({ type: 'connection_init' });
    expect(await twice.closed).toBe(4429);
    const duplicate = await connected(ann.token);
    for (let n = 0; n < 2; n += 1) duplicate.send(subscribe('1', 'subscription { workflowUpdated { id } }'));
    expect(await duplicate.closed).toBe(4409);
    const large = await connected(ann.token);
    large.send(subscribe('1', `{ viewer { id } } # ${'x'.repeat(1024 * 1024)}`));
    expect(await large.closed).toBe(1009);
  });

  test('accepts the cookie of its own site, and refuses pages of others', async () => {
    const { host } = new URL(api.url);
    const cookie = `chronoverse_session=${ann.token}`;
    const own = await raw({ cookie, origin: `http://${host}` });
    own.send({ type: 'connection_init' });
    await expect.poll(() => own.received[0]?.type).toBe('connection_ack');
    own.send(subscribe('1', '{ viewer { email } }'));
    await expect.poll(() => own.received[1]?.payload).toEqual({ data: { viewer: { email: ann.email } } });
    await expect(raw({ cookie, origin: 'https://evil.example' })).rejects.toThrow('403');
  });

  test('is closed with 1001 when the server shuts down', async () => {
    const other = await testApi();
    const { token } = await person(other);
    const client = socketOf(other, token);
    const stream = taker(client.iterate({ query: 'subscription { workflowUpdated { id } }' }));
    const ended = stream.rest().catch((event: unknown) => event);
    const connectedNow = new Promise((resolve) => client.on('connected', resolve));
    await connectedNow;
    await other.close();
    expect(await ended).toMatchObject({ code: 1001 });
  });
});
