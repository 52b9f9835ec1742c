import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import pino from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { startApi } from '../../api/server.ts';
import type { ApiSettings } from '../../api/settings.ts';
import { connect as connectDatabase } from '../../db/client.ts';
import { runningJob } from '../support/jobs.ts';
import { testSealer } from '../support/workers.ts';
import { ask } from './download-client.ts';
import { type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

// A later request could take the place otherwise; it would then be tried again.
const ARRIVES_MS = 100;
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

async function apiWith(bounds: ApiSettings['bounds'], settings: Partial<ApiSettings> = {}) {
  const api = await testApi({ bounds, ...settings });
  open.push(api);
  return { api, ann: await person(api, 'ann'), bob: await person(api, 'bob') };
}

/** A bare TCP connection that has sent `text`. */
async function connection(
  { url }: { url: string },
  text = '',
  localAddress = '127.0.0.1',
): Promise<{ socket: Socket; received(): string }> {
  const { hostname, port } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname, localAddress });
  open.push({ close: () => socket.destroy() });
  let received = '';
  socket.on('data', (data) => {
    received += data;
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(text);
  return { socket, received: () => received };
}

const GET = 'GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n';
const signedIn = ({ token }: Person, more = '') => `${GET}Authorization: Bearer ${token}\r\n${more}\r\n`;

interface Opened {
  socket: WebSocket;
  received: { type: string; id?: string; payload?: unknown }[];
  closed: Promise<{ code: number; reason: string }>;
}

/** A WebSocket that was acknowledged or closed. Rejects if the upgrade is refused. */
async function webSocket(
  api: TestApi,
  token?: string,
  headers: Record<string, string> = {},
  localAddress = '127.0.0.1',
): Promise<Opened> {
  const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws', { headers, localAddress });
  open.push({ close: () => socket.terminate() });
  const received: Opened['received'] = [];
  socket.on('message', (data) => received.push(JSON.parse(String(data))));
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
  );
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const payload = token === undefined ? {} : { authorization: `Bearer ${token}` };
  socket.send(JSON.stringify({ type: 'connection_init', payload }));
  await Promise.race([closed, once(socket, 'message')]);
  return { socket, received, closed };
}

const answers = async ({ socket, received }: Opened, id: string) => {
  socket.send(JSON.stringify({ type: 'subscribe', id, payload: { query: '{ __typename }' } }));
  await expect.poll(() => received.find((message) => message.id === id && message.type === 'complete')).toBeDefined();
};

describe('connections beyond a bound', () => {
  test('P12: of one address are answered with 429, and earlier ones are not affected', async () => {
    const { api, ann } = await apiWith({ connectionsPerAddress: 5 });
    const before: Awaited<ReturnType<typeof connection>>[] = [];
    await expect
      .poll(async () => {
        const one = await connection(api, signedIn(ann));
        await expect.poll(one.received).toMatch(/^HTTP\/1.1 (200|429)/);
        if (one.received().includes('200 OK')) before.push(one);
        return one.received();
      })
      .toMatch(/^HTTP\/1.1 429 .*connection: close.*5 connections open.*CONNECTIONS_PER_ADDRESS_MAX/is);
    const kept = before.at(-1);
    kept?.socket.write(signedIn(ann));
    await expect.poll(() => kept?.received().split('200 OK').length).toBe(3);
    const { hostname, port } = new URL(api.url);
    const upgrade = new WebSocket(`ws://${hostname}:${port}/graphql`, 'graphql-transport-ws');
    expect(String((await once(upgrade, 'error'))[0])).toContain('429');
    for (const { socket } of before) socket.destroy();
    await expect.poll(async () => (await fetch(api.url.replace('graphql', 'health'))).status).toBe(200);
    const again = async () => {
      const one = await connection(api, signedIn(ann));
      await expect.poll(one.received).not.toBe('');
      one.socket.destroy();
      return one.received();
    };
    await expect.poll(again).toContain('200 OK');
  });

  test('in total get 503, and end soon although their clients do nothing', async () => {
    const { api, ann } = await apiWith({ connections: 4 });
    const idle: Awaited<ReturnType<typeof connection>>[] = [];
    for (let n = 0; n < 8; n += 1) idle.push(await connection(api, '', `127.0.0.${2 + n}`));
    const closed = idle.slice(4).map(({ socket }) => once(socket, 'close'));
    const late = await connection(api, signedIn(ann));
    await expect.poll(late.received).toMatch(/^HTTP\/1.1 503 .*4 connections open.*CONNECTIONS_MAX/s);
    await Promise.all(closed);
    const [first] = idle;
    first?.socket.write(signedIn(ann));
    await expect.poll(() => first?.received()).toContain('200 OK');
  });

  test.each([
    ['connections', { connections: 20, connectionsPerAddress: 10 }, ''],
    [
      'requests without a token',
      { anonymous: 20, anonymousPerAddress: 10 },
      'POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{',
    ],
  ])('from two addresses that take all %s that they can leave some to a third', async (_, bounds, begun) => {
    const { api } = await apiWith(bounds);
    const ended: string[] = [];
    for (let n = 0; n < 20; n += 1) {
      const one = await connection(api, begun, `127.0.0.${2 + (n % 2)}`);
      one.socket.once('close', () => ended.push(one.received()));
    }
    await expect.poll(() => ended.length, { timeout: 5_000 }).toBeGreaterThanOrEqual(10);
    const honest = await connection(api, `${GET}Connection: close\r\n\r\n`, '127.0.0.4');
    await expect.poll(honest.received).toMatch(/^HTTP\/1.1 200 /);
    const more = await connection(api, `${GET}\r\n`, '127.0.0.2');
    await expect.poll(more.received).toMatch(/^HTTP\/1.1 429 .*its share of .*(CONNECTIONS|ANONYMOUS)_MAX/s);
  });

  test('of one user count as requests under way and get 429', async () => {
    const { api, ann, bob } = await apiWith({ connectionsPerUser: 2 });
    const id = await runningJob(api, ann);
    const follow = () => ask(api, `/logs/${id}?follow`, { token: ann.token });
    const replies = await Promise.all([follow(), follow(), follow(), follow()]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 429, 429]);
    expect(await query(api, '{ __typename }', { token: ann.token })).toMatchObject({
      errors: [{ message: expect.stringContaining('CONNECTIONS_PER_USER_MAX'), extensions: { code: 'RATE_LIMITED' } }],
    });
    expect(await query(api, '{ __typename }', { token: bob.token })).toEqual({ data: { __typename: 'Query' } });
    for (const reply of replies) reply.leave();
    await expect.poll(() => query(api, '{ __typename }', { token: ann.token })).toHaveProperty('data.__typename');
  });

  test('without a token are fewer, and leave room for clients with a token and for health checks', async () => {
    const { api, ann } = await apiWith({ anonymousPerAddress: 2 });
    const post =
      'POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{';
    const [first, second] = [await connection(api, post), await connection(api, post)];
    const refused = async () => {
      const answer = await fetch(api.url, { method: 'POST', body: '{"query":"{__typename}"}' });
      return `${answer.status} ${answer.headers.get('retry-after')} ${await answer.text()}`;
    };
    await expect.poll(refused).toMatch(/^429 5 .*2 requests without a valid token open.*ANONYMOUS_PER_ADDRESS_MAX/);
    expect(await query(api, '{ __typename }', { token: ann.token })).toHaveProperty('data.__typename');
    expect((await fetch(new URL('/health', api.url))).status).toBe(200);
    first.socket.destroy();
    second.socket.destroy();
    await expect.poll(() => query(api, '{ __typename }')).toHaveProperty('data.__typename');
  });

  test.each([
    ['a bearer that has not the form of a token', { authorization: 'Bearer x' }],
    ["a bearer that is nobody's", { authorization: `Bearer cvs_${'x'.repeat(43)}` }],
    ["a cookie that is nobody's", { cookie: `chronoverse_session=cvs_${'x'.repeat(43)}` }],
  ])('count as without a token with %s', async (_, headers) => {
    const { api, ann } = await apiWith({ anonymousPerAddress: 2 });
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const post = `POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${fields.join('')}Content-Length: 100\r\n\r\n{`;
    for (const path of ['/graphql', '/logs/1']) {
      const refused = async () => {
        await connection(api, post); // refused itself from the third on
        await delay(ARRIVES_MS);
        const answer = await fetch(new URL(`${path}?query={__typename}`, api.url), { headers });
        return `${answer.status} ${await answer.text()}`;
      };
      await expect.poll(refused).toMatch(/^429 .*ANONYMOUS_PER_ADDRESS_MAX/);
    }
    expect(await query(api, '{ __typename }', { token: ann.token })).toHaveProperty('data.__typename');
  });

  test('count as connections without a token if the token cannot be looked up', async () => {
    const { api, ann } = await apiWith({});
    const gone = connectDatabase('postgres://nobody:nothing@127.0.0.1:1/none', { max: 1, application: 'test' });
    const { bus, cache } = api;
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: false, maxJobSeconds: 1 };
    const other = await startApi({
      db: gone.db,
      bus,
      cache,
      log: pino({ level: 'silent' }),
      sealer: testSealer,
      settings: { ...settings, bounds: { anonymousPerAddress: 1 } },
    });
    open.push(gone, other);
    const body = '{"query":"{ viewer { id } }"}';
    const post = `POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer ${ann.token}\r\nContent-Length: 1000\r\n\r\n`;
    const refused = async () => {
      await connection(other, `${post}${body}`); // refused itself from the second on
      await delay(ARRIVES_MS);
      return JSON.stringify(await query(other, '{ viewer { id } }', { token: ann.token }));
    };
    await expect.poll(refused).toContain('ANONYMOUS_PER_ADDRESS_MAX');
  });

  test('count behind a proxy by the address that it names, with IPv6 by /64', async () => {
    const { api, ann } = await apiWith({ connectionsPerAddress: 2 }, { trustProxy: 1 });
    const id = await runningJob(api, ann);
    const from = (address: string) =>
      ask(api, `/logs/${id}?follow`, { token: ann.token, headers: { 'x-forwarded-for': address } });
    const statuses: number[] = [];
    for (const address of ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1', '192.0.2.1', '192.0.2.1'])
      statuses.push((await from(address)).status);
    expect(statuses).toEqual([200, 200, 429, 200, 200, 200]);
    await expect(webSocket(api, ann.token, { 'x-forwarded-for': '192.0.2.1' })).rejects.toThrow('429');
    await answers(await webSocket(api, ann.token, { 'x-forwarded-for': '192.0.2.2' }), '1');
  });
});

describe('WebSockets beyond a bound', () => {
  test.each([
    [{ webSockets: 3 }, '503', [1, 2, 3]],
    [{ webSockets: 6, webSocketsPerAddress: 6 }, '429', [1, 1, 1]], // as many as are left for others
    [{ webSocketsPerAddress: 3 }, '429', [1, 1, 1]],
  ])('of %j are refused at the upgrade with %s, and earlier ones are not affected', async (bounds, status, from) => {
    const { api, ann } = await apiWith(bounds);
    const sockets = await Promise.all(from.map((n) => webSocket(api, ann.token, {}, `127.0.0.${n}`)));
    await expect(webSocket(api, ann.token)).rejects.toThrow(status);
    for (const socket of sockets) await answers(socket, '1');
    sockets[0]?.socket.terminate();
    await expect.poll(() => webSocket(api, ann.token).then(() => 'open', String)).toBe('open');
  });

  test('of one user are closed with 1013 and the bound as the reason, however many connect at once', async () => {
    const { api, ann, bob } = await apiWith({ webSocketsPerUser: 5 });
    const sockets = await Promise.all(Array.from({ length: 20 }, () => webSocket(api, ann.token)));
    const refused = sockets.filter(({ received }) => received.length === 0);
    expect(refused).toHaveLength(15);
    expect(await refused[0]?.closed).toEqual({
      code: 1013,
      reason: 'You have 5 WebSockets open, which is the maximum (WEBSOCKETS_PER_USER_MAX): end one first.',
    });
    for (const socket of sockets) if (!refused.includes(socket)) await answers(socket, '1');
    await answers(await webSocket(api, bob.token), '1');
  });

  test('without a token are fewer', async () => {
    const { api, ann } = await apiWith({ anonymousPerAddress: 2 });
    const sockets = await Promise.all([webSocket(api), webSocket(api)]);
    for (const socket of sockets) await answers(socket, '1');
    const third = await webSocket(api);
    expect(await third.closed).toMatchObject({
      code: 1013,
      reason: expect.stringContaining('ANONYMOUS_PER_ADDRESS_MAX'),
    });
    await answers(await webSocket(api, ann.token), '1');
    for (const socket of sockets) await answers(socket, '2');
  });
});

describe('streams beyond a bound', () => {
  const SUBSCRIPTION = 'subscription { workflowUpdated { id } }';

  test.each([
    [{ streamsPerUser: 3 }, 'STREAMS_PER_USER_MAX'],
    [{ streamsPerAddress: 3 }, 'STREAMS_PER_ADDRESS_MAX'],
    [{ streams: 3 }, 'STREAMS_MAX'],
  ])('of %j are RATE_LIMITED by %s, over WebSocket, SSE and as downloads', async (bounds, setting) => {
    const { api, ann } = await apiWith(bounds);
    const id = await runningJob(api, ann);
    const download = await ask(api, `/logs/${id}?follow`, { token: ann.token });
    expect(download.status).toBe(200);
    const { socket, received } = await webSocket(api, ann.token);
    const subscribe = (number: string) =>
      socket.send(JSON.stringify({ type: 'subscribe', id: number, payload: { query: SUBSCRIPTION } }));
    for (const number of ['1', '2', '3']) subscribe(number);
    const message = expect.stringContaining(setting);
    await expect
      .poll(() => received[1])
      .toMatchObject({
        id: '3',
        payload: { errors: [{ message, extensions: { code: 'RATE_LIMITED' } }] },
      });

    const path = `/graphql?query=${encodeURIComponent(SUBSCRIPTION)}`;
    const events = await ask(api, path, { token: ann.token, headers: { accept: 'text/event-stream' } });
    expect(await events.whole()).toMatch(new RegExp(`${setting}.*RATE_LIMITED`));
    const log = await ask(api, `/logs/${id}`, { token: ann.token });
    expect(await log.whole()).toContain(setting);
    expect((await ask(api, `/logs/${id}`, { token: ann.token, method: 'HEAD' })).status).toBe(log.status);

    socket.send(JSON.stringify({ type: 'complete', id: '1' }));
    const later = taker(socketOf(api, ann.token).iterate({ query: '{ __typename }' }));
    expect(await later.rest()).toHaveLength(1); // a query is not a stream
    let next = 3;
    const refusedDownload = async () => {
      next += 1;
      subscribe(String(next)); // again, because the last download had taken the place
      return (await ask(api, `/logs/${id}`, { token: ann.token })).status;
    };
    await expect.poll(refusedDownload).not.toBe(200);
    socket.terminate();
    download.leave();
    await expect.poll(async () => (await ask(api, `/logs/${id}`, { token: ann.token })).status).toBe(200);
  });
});
