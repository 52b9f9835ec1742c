import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { OPERATIONS_MAX } from '../../api/websocket/operations.ts';
import { type Person, person, type TestApi, testApi } from '../api/support.ts';
import { runningJob } from '../support/jobs.ts';

const STREAMS_MAX = 4;

describe('operations on a WebSocket whose ids are reused before they have begun', () => {
  let api: TestApi;
  let ann: Person;
  let document: string;
  beforeAll(async () => {
    api = await testApi({ bounds: { streamsPerUser: STREAMS_MAX } });
    ann = await person(api);
    document = `subscription { jobLogs(jobId: "${await runningJob(api, ann)}") { text } }`;
  });
  afterAll(() => api.close());

  async function webSocket() {
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    const received: { id?: string; type: string; payload?: { extensions: { code: string } }[] }[] = [];
    socket.on('message', (data) => received.push(JSON.parse(String(data))));
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
    await once(socket, 'message');
    const subscribe = (id: string, query: string) =>
      socket.send(JSON.stringify({ type: 'subscribe', id, payload: { query } }));
    const complete = (id: string) => socket.send(JSON.stringify({ type: 'complete', id }));
    /** When this is answered, every earlier operation has begun. */
    const answered = async () => {
      subscribe('last', '{ viewer { id } }');
      await expect.poll(() => received.some(({ id, type }) => id === 'last' && type === 'complete')).toBe(true);
    };
    const close = async () => {
      socket.close();
      await once(socket, 'close');
    };
    return { subscribe, complete, answered, close, received };
  }

  test('end with the socket and return the places of their streams', async () => {
    for (let n = 0; n < 3; n += 1) {
      const { subscribe, complete, answered, close } = await webSocket();
      for (let time = 0; time < STREAMS_MAX; time += 1) {
        subscribe('same', document);
        if (time < STREAMS_MAX - 1) complete('same');
      }
      await answered();
      await close();
    }
    const { subscribe, answered, close, received } = await webSocket();
    for (let n = 0; n < STREAMS_MAX; n += 1) subscribe(String(n), document);
    await answered();
    expect(received.filter(({ type }) => type === 'error')).toEqual([]);
    await close();
  });

  test('count as operations of the socket until they are over', async () => {
    const { subscribe, complete, close, received } = await webSocket();
    for (let n = 0; n < 2 * OPERATIONS_MAX; n += 1) {
      subscribe(String(n), '{ system { docker } }');
      complete(String(n));
    }
    subscribe('other', '{ viewer { id } }');
    await expect
      .poll(() => received.find(({ id }) => id === 'other')?.payload)
      .toMatchObject([{ extensions: { code: 'RATE_LIMITED' } }]);
    await close();
  });

  test('keep one operation of their id waiting, and take no place from other operations', async () => {
    const { subscribe, complete, close, received } = await webSocket();
    for (let n = 0; n < 2 * OPERATIONS_MAX; n += 1) {
      subscribe('same', '{ system { docker } }');
      complete('same');
    }
    subscribe('other', '{ viewer { id } }');
    await expect.poll(() => received.find(({ id }) => id === 'other')?.payload).toMatchObject({ data: {} });
    subscribe('same', '{ viewer { id } }');
    await expect
      .poll(() => received.find(({ id, type }) => id === 'same' && type === 'next')?.payload)
      .toMatchObject({ data: { viewer: {} } });
    await close();
  });
});
