import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { HELD_BYTES_PER_USER_MAX } from '../../api/admission/admission.ts';
import { SUBSCRIPTION_LENGTH_MAX } from '../../api/graphql/slim-subscription.ts';
import { ask } from '../api/download-client.ts';
import { codes, type Person, person, query, type TestApi, testApi } from '../api/support.ts';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

const SUBSCRIPTIONS = 50;
const MB = 1024 * 1024;
const long = (length: number) => 'x'.repeat(length);
const DOCUMENT = 'subscription { workflowUpdated { name } }';

describe('the memory of the process for a user', () => {
  let api: TestApi;
  let ann: Person;
  const sockets: WebSocket[] = [];
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(async () => {
    for (const socket of sockets) socket.terminate();
    await api.close();
  });

  async function open(token: string): Promise<WebSocket> {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    sockets.push(socket);
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
    await once(socket, 'message');
    return socket;
  }

  /**
   * Resolves when everything sent before is answered, by means of a later operation on the same
   * socket.
   */
  async function settled(socket: WebSocket): Promise<string> {
    let received = '';
    const done = new Promise<void>((resolve) =>
      socket.on('message', (data) => {
        received += data;
        if (received.includes('"settled"')) resolve();
      }),
    );
    await done;
    return received;
  }

  async function heapBytes(): Promise<number> {
    collect();
    await setImmediate(); // memory outside the heap is freed in the next round
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }

  const payloads: [string, () => object][] = [
    ['a variable that nothing declares', () => ({ query: DOCUMENT, variables: { unknown: long(200_000) } })],
    ['a comment', () => ({ query: `# ${long(200_000)}${Math.random()}\n${DOCUMENT}` })],
    [
      'another operation',
      () => ({
        query: `${DOCUMENT.replace('n {', 'n S {')} query Q { job(id: "${long(200_000)}${Math.random()}") { id } }`,
        operationName: 'S',
      }),
    ],
    ['extensions', () => ({ query: DOCUMENT, extensions: { unknown: long(200_000) } })],
  ];

  test.each(payloads)('does not hold %s of a subscription for as long as it lasts', async (_, payload) => {
    const socket = await open(ann.token);
    socket.send(JSON.stringify({ type: 'subscribe', id: '0', payload: payload() }));
    const before = await heapBytes();
    const answer = settled(socket);
    for (let id = 1; id < SUBSCRIPTIONS; id += 1)
      socket.send(JSON.stringify({ type: 'subscribe', id: `${id}`, payload: payload() }));
    socket.send(JSON.stringify({ type: 'subscribe', id: 'settled', payload: { query: '{ settled: __typename }' } }));
    expect(await answer).not.toContain('error');
    const sent = SUBSCRIPTIONS * JSON.stringify(payload()).length;
    await expect.poll(async () => (await heapBytes()) - before).toBeLessThan(sent / 4);
    socket.terminate();
  });

  test('is bounded per subscription and in total: what exceeds it is refused, and the others continue', async () => {
    const socket = await open(ann.token);
    const answers: { id: string; type: string; payload: { message: string; extensions: { code: string } }[] }[] = [];
    socket.on('message', (data) => answers.push(JSON.parse(String(data))));
    const subscribe = (id: string, length: number) => {
      const query = `subscription ($text: ID) { workflowUpdated { jobs(filter: { workflowId: $text }) { nodes { id } } } }`;
      socket.send(JSON.stringify({ type: 'subscribe', id, payload: { query, variables: { text: long(length) } } }));
    };
    subscribe('too long', SUBSCRIPTION_LENGTH_MAX + 1);
    await expect
      .poll(() => answers)
      .toMatchObject([{ id: 'too long', payload: [{ extensions: { code: 'BAD_REQUEST' } }] }]);
    socket.terminate();

    const before = sockets.length;
    const perSocket = 99;
    const refused: string[] = [];
    for (let n = 0; n * perSocket * SUBSCRIPTION_LENGTH_MAX < HELD_BYTES_PER_USER_MAX * 1.5; n += 1) {
      const next = await open(ann.token);
      const answer = settled(next);
      const document = `subscription ($text: ID) { workflowUpdated { jobs(filter: { workflowId: $text }) { nodes { id } } } }`;
      for (let id = 0; id < perSocket; id += 1) {
        const variables = { text: long(SUBSCRIPTION_LENGTH_MAX - 1_000) };
        next.send(JSON.stringify({ type: 'subscribe', id: `${id}`, payload: { query: document, variables } }));
      }
      next.send(JSON.stringify({ type: 'subscribe', id: 'settled', payload: { query: '{ settled: __typename }' } }));
      refused.push(...((await answer).match(/"code":"[A-Z_]+"/g) ?? []));
    }
    expect(new Set(refused)).toEqual(new Set(['"code":"RATE_LIMITED"']));
    for (const each of sockets.splice(before)) each.terminate();
    const again = () => query(api, '{ viewer { id } }', { token: ann.token });
    await expect.poll(again).toEqual({ data: { viewer: { id: ann.id } } });
  });

  test('includes the bodies of long-running requests', async () => {
    const variables = encodeURIComponent(JSON.stringify({ unknown: long(10_000) }));
    const path = `/graphql?query=${encodeURIComponent(DOCUMENT)}&variables=${variables}`;
    const reply = await ask(api, path, { token: ann.token, headers: { accept: 'text/event-stream' } });
    expect(reply.status).toBe(200);
    reply.leave();
    const body = JSON.stringify({ query: DOCUMENT, variables: { unknown: long(900_000) } });
    const controller = new AbortController();
    const responses: Response[] = [];
    for (let n = 0; n < 20; n += 1) {
      const headers = {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${ann.token}`,
      };
      const response = await fetch(api.url, { method: 'POST', body, headers, signal: controller.signal });
      responses.push(response);
      if (response.status === 429) expect(codes(await response.json())).toEqual(['RATE_LIMITED']);
    }
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200, 429]));
    controller.abort();
    await expect
      .poll(() => query(api, '{ viewer { id } }', { token: ann.token, variables: { unknown: long(900_000) } }))
      .toEqual({ data: { viewer: { id: ann.id } } });
  });

  test('does not include the text of documents whose ids were looked up', async () => {
    const people: Person[] = [];
    for (let n = 0; n < 12; n += 1) people.push(await person(api, `looking${n}`));
    const id = '01890000-0000-7000-8000-000000000000';
    const ask = async ({ token }: Person) => {
      for (const field of [`node(id: "${id}") { id }`, `job(id: "${id}") { id }`, `workflow(id: "${id}") { id }`]) {
        const answer = await query(api, `{ ${field} } # ${long(240_000)}${Math.random()}`, { token });
        expect(answer.errors).toBeUndefined();
      }
    };
    await ask(ann);
    const before = await heapBytes();
    for (const each of people) await ask(each);
    expect((await heapBytes()) - before).toBeLessThan(4 * MB); // of 9 MB
  });
});
