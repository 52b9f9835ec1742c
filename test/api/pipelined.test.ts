import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { REQUESTS_WAITING_MAX } from '../../api/http/serializer.ts';
import { STREAMS_PER_USER_MAX } from '../../api/live/streams.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, print } from '../support/lines.ts';
import { ask } from './download-client.ts';
import { type Person, person, type TestApi, testApi } from './support.ts';

describe('requests that are sent over one connection before the answers come', () => {
  let api: TestApi;
  let ann: Person;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(() => api.close());

  /** Sends everything at once. `received` is the answer so far. */
  async function send(...requests: string[]): Promise<{ socket: Socket; received: () => string }> {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    let received = '';
    socket.on('data', (data) => {
      received += data;
    });
    socket.on('error', () => undefined); // a reset
    socket.write(requests.join(''));
    await once(socket, 'connect');
    return { socket, received: () => received };
  }

  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`;
  const times = (count: number, request: string) => Array.from({ length: count }, () => request);

  function post(query: string): string {
    const body = JSON.stringify({ query });
    const headers = ['Host: a', `Authorization: Bearer ${ann.token}`, 'Content-Type: application/json'];
    return `POST /graphql HTTP/1.1\r\n${headers.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  }

  test('are answered one after the other: a client has one download per connection', async () => {
    const id = await runningJob(api, ann);
    const connections: Awaited<ReturnType<typeof send>>[] = [];
    for (let n = 0; n * REQUESTS_WAITING_MAX < STREAMS_PER_USER_MAX; n += 1)
      connections.push(await send(...times(REQUESTS_WAITING_MAX + 1, get(`/logs/${id}?follow`))));
    await print(api, await numberedChunk(id, 1, 1));
    for (const { received } of connections) await expect.poll(received).toContain('line 1 é');
    const other = await ask(api, `/logs/${id}`, { token: ann.token });
    expect([other.status, await other.whole()]).toEqual([200, 'line 1 é\n']);
    await endJob(api, ann, id, 1);
    const answers = () => connections.map(({ received }) => received().split('line 1 é\n').length - 1);
    await expect.poll(answers, { timeout: 40_000 }).toEqual(connections.map(() => REQUESTS_WAITING_MAX + 1));
  });

  test('are answered in order, including those with bodies', async () => {
    const { received } = await send(post('{ a: __typename }'), get('/health'), post('{ b: __typename }'), get('/no'));
    await expect.poll(received).toContain('Nothing is at this path');
    expect(received()).toMatch(/"a":"Query".*"status":"UP".*"b":"Query".*Nothing is at this path/s);
  });

  test('are cut if too many wait, and none is begun for a client that has left', async () => {
    const id = await runningJob(api, ann);
    const { socket } = await send(...times(REQUESTS_WAITING_MAX + 2, get(`/logs/${id}?follow`)));
    await once(socket, 'close');
    const gone = await send(get(`/logs/${id}?follow`), post('mutation { signOut { userErrors { code } } }'));
    await expect.poll(gone.received).toContain('200 OK');
    gone.socket.destroy();
    const other = await ask(api, `/logs/${id}`, { token: ann.token });
    expect([other.status, await other.whole()]).toEqual([200, '']);
  });
});
