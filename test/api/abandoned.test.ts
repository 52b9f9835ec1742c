import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { codes, type Person, person, query, type TestApi, testApi } from './support.ts';

const UNDER_WAY_MAX = 16; // of one user
const REQUESTS_MAX = 19;
const WAITS_MS = 1_000;

describe('a client that sends and leaves', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  /** Operations that need the engine stay under way until it answers. */
  let engineAnswers: (isThere: boolean) => void;
  const engine = new Promise<boolean>((resolve) => {
    engineAnswers = resolve;
  });

  beforeAll(async () => {
    const docker = { isThere: () => engine, isUp: async () => true };
    api = await testApi({ bounds: { connectionsPerUser: REQUESTS_MAX } }, { docker });
    [ann, bob] = [await person(api, 'ann'), await person(api, 'bob')];
  });
  afterAll(async () => {
    engineAnswers(false);
    await api.close();
  });

  async function sendAndLeave({ token }: Person): Promise<() => void> {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const body = '{"query":"{ system { docker } }"}';
    const head = `POST /graphql HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}`;
    socket.write(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return () => socket.resetAndDestroy();
  }
  async function webSocket({ token }: Person): Promise<WebSocket> {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
    await once(socket, 'message');
    return socket;
  }
  const ofBob = async () => {
    for (let n = 0; n < 5; n += 1)
      expect(codes(await query(api, '{ viewer { id } }', { token: bob.token }))).toEqual([]);
  };
  const waiting: Promise<unknown[]>[] = [];
  /** The errors of a request of ann's, or undefined while it waits. */
  const ofAnn = async () => {
    const answer = query(api, '{ viewer { id } }', { token: ann.token }).then(codes);
    const soon = await Promise.race([answer, delay(WAITS_MS)]);
    if (soon === undefined) waiting.push(answer);
    return soon;
  };

  test('occupies its own turns and places until its operations end, and never those of other users', async () => {
    const leave = await Promise.all(Array.from({ length: UNDER_WAY_MAX }, () => sendAndLeave(ann)));
    await expect.poll(ofAnn).toBeUndefined(); // now all of them are under way
    for (const each of leave) each();
    await ofBob(); // meanwhile the server notices that the clients have left

    const download = fetch(new URL('/logs/1', api.url), { headers: { authorization: `Bearer ${ann.token}` } });
    expect(await Promise.race([download, delay(WAITS_MS, 'waits')])).toBe('waits');
    for (let n = UNDER_WAY_MAX + 2; n < REQUESTS_MAX; n += 1) expect(await ofAnn()).toBeUndefined();
    expect(codes(await query(api, '{ viewer { id } }', { token: ann.token }))).toEqual(['RATE_LIMITED']);
    await ofBob();

    const socket = await webSocket(ann);
    const create = `mutation { createWorkflow(input: { name: "late", payload: { heartbeat: { endpoint: "http://127.0.0.1:9/" } }, interval: 1000, maxConsecutiveJobFailuresAllowed: 1 }) { userErrors { message } } }`;
    for (const id of ['1', '2'])
      socket.send(JSON.stringify({ type: 'subscribe', id, payload: { query: create.replace('late', `late ${id}`) } }));
    socket.send('{"type":"complete","id":"1"}');
    await ofBob(); // meanwhile the operations arrive
    socket.close();
    await once(socket, 'close');
    await ofBob();

    engineAnswers(false);
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => []));
    expect((await download).status).toBe(404);
    await expect.poll(ofAnn).toEqual([]);
    const { data } = await query(api, '{ workflows(first: 10) { nodes { name } } }', { token: ann.token });
    // An operation that was still waiting when its socket closed is not executed.
    expect(data.workflows.nodes).toEqual([]);
  });
});

test('a client that leaves in the middle of a body leaves no line in the log', async () => {
  const api = await testApi({ bounds: { anonymousPerAddress: 1 } });
  const { hostname, port } = new URL(api.url);
  const isServed = async () => codes(await query(api, '{ __typename }')).length === 0;
  for (let n = 0; n < 5; n += 1) {
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.write(
      `POST /graphql HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{`,
    );
    await expect.poll(isServed).toBe(false); // the request occupies the only place
    if (n % 2) socket.resetAndDestroy();
    else socket.destroy();
    await expect.poll(isServed).toBe(true);
  }
  expect(api.logged).toEqual([]);
  await api.close();
});
