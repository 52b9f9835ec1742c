import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import WebSocket from 'ws';
import { runningJob } from '../support/jobs.ts';
import { numberedChunk, print } from '../support/lines.ts';
import { type Person, person, type TestApi, testApi } from './support.ts';

const SUBSCRIBERS = 1_000;

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

test('1,000 subscribers of one user to one job, each on its own socket, stay within the bounds even if they begin at once', async () => {
  const jobId = await runningJob(api, ann);
  const received: string[] = [];
  await Promise.all(
    Array.from({ length: SUBSCRIBERS }, async () => {
      const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
      sockets.push(socket);
      await once(socket, 'open');
      socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
      await once(socket, 'message');
      socket.on('message', (data) => received.push(String(data)));
    }),
  );
  const query = `subscription { jobLogs(jobId: "${jobId}") { text } }`;
  for (const socket of sockets) socket.send(JSON.stringify({ type: 'subscribe', id: '1', payload: { query } }));
  await print(api, await numberedChunk(jobId, 1, 1));
  const whole = JSON.stringify({ id: '1', type: 'next', payload: { data: { jobLogs: { text: 'line 1 é\n' } } } });
  await expect.poll(() => received.length, { timeout: 40_000 }).toBe(SUBSCRIBERS);
  expect(new Set(received.map((message) => JSON.stringify(JSON.parse(message))))).toEqual(new Set([whole]));
});
