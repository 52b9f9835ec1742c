import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { insertChunks } from '../../db/logs/append.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { type Person, person, type TestApi, testApi } from './support.ts';

const LINES = 10_000;
const SUBSCRIPTIONS = 100;

describe('a socket with the maximum number of subscriptions', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  test('receives all of a long log on each of them, and is not mistaken for a client that does not read', async () => {
    const id = await runningJob(api, ann);
    for (let first = 1; first <= LINES; first += 5_000)
      await insertChunks(api.db, [await numberedChunk(id, first, first + 4_999)]);
    await endJob(api, ann, id, LINES);
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    const last = new Map<string, number>();
    const ended = new Promise<number>((resolve) => {
      let completed = 0;
      socket.once('close', (code) => resolve(code));
      socket.on('message', (data) => {
        const { type, id: operation, payload } = JSON.parse(String(data));
        if (type === 'next') last.set(operation, payload.data.jobLogs.lastNumber);
        if (type === 'complete') completed += 1;
        if (completed === SUBSCRIPTIONS) socket.close(1000);
      });
    });
    await new Promise((resolve) => socket.once('open', resolve));
    const payload = { authorization: `Bearer ${ann.token}` };
    socket.send(JSON.stringify({ type: 'connection_init', payload }));
    await new Promise((resolve) => socket.once('message', resolve));
    const query = `subscription { jobLogs(jobId: "${id}") { lastNumber lines { number timestamp stream text attempt } } }`;
    for (let n = 0; n < SUBSCRIPTIONS; n += 1)
      socket.send(JSON.stringify({ type: 'subscribe', id: String(n), payload: { query } }));
    expect(await ended).toBe(1_000);
    expect([...last.values()]).toEqual(Array.from({ length: SUBSCRIPTIONS }, () => LINES));
  }, 60_000);
});
