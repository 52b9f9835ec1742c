import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { STREAMS_PER_USER_MAX } from '../../api/live/streams.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, print } from '../support/lines.ts';
import { ask, type Reply } from './download-client.ts';
import { type Person, person, type TestApi, testApi } from './support.ts';

describe('streams and downloads of one user', () => {
  let api: TestApi;
  let ann: Person;
  let bob: Person;
  beforeAll(async () => {
    api = await testApi();
    [ann, bob] = [await person(api, 'ann'), await person(api, 'bob')];
  });
  afterAll(() => api.close());

  const subscribe = (id: string, { token }: Person) => {
    const document = encodeURIComponent(`subscription { jobLogs(jobId: "${id}") { text } }`);
    return ask(api, `/graphql?query=${document}`, { token, headers: { accept: 'text/event-stream' } });
  };

  test('are limited per process, and a refused client learns why', async () => {
    const id = await runningJob(api, ann);
    const open: Promise<Reply>[] = [];
    for (let n = 0; n < STREAMS_PER_USER_MAX; n += 1)
      open.push(n % 2 ? subscribe(id, ann) : ask(api, `/logs/${id}?follow`, { token: ann.token }));
    const replies = await Promise.all(open); // all at once
    expect(replies.every(({ status }) => status === 200)).toBe(true);

    const download = await ask(api, `/logs/${id}`, { token: ann.token });
    expect([download.status, await download.whole()]).toEqual([429, expect.stringContaining('200 streams')]);
    const stream = await subscribe(id, ann);
    expect(await stream.whole()).toMatch(/200 streams.*RATE_LIMITED/);
    const head = await ask(api, `/logs/${id}`, { token: ann.token, method: 'HEAD' });
    expect(head.status).toBe(429);

    const bobs = await runningJob(api, bob);
    const others = await ask(api, `/logs/${bobs}?follow`, { token: bob.token });
    expect(others.status).toBe(200);
    others.leave();

    replies[0]?.leave();
    replies[1]?.leave();
    const again = async () => {
      const reply = await ask(api, `/logs/${id}`, { token: ann.token });
      await reply.whole();
      return reply.status;
    };
    await expect.poll(again).toBe(200);
    // Each stream returns its place at its end.
    for (let n = 0; n < 5; n += 1) expect(await again()).toBe(200);
    await print(api, await numberedChunk(id, 1, 1));
    await endJob(api, ann, id, 1);
    for (const reply of replies.slice(2)) expect(await reply.whole()).toContain('line 1 é');
    expect(await again()).toBe(200);
  });

  test('that are refused at the start return their places', async () => {
    const id = await runningJob(api, bob);
    const unknown = await runningJob(api, ann);
    const fields = 'lines { number text stream source }';
    const dear = Array.from({ length: 10 }, (_, n) => `a${n}: ${fields}`).join(' ');
    for (const [document, answer] of [
      [`subscription { jobLogs(jobId: "${unknown}") { text } }`, 'NOT_FOUND'],
      [`subscription { jobLogs(jobId: "${id}") { ${dear} } }`, 'BAD_REQUEST'],
    ]) {
      for (let n = 0; n < STREAMS_PER_USER_MAX; n += 1) {
        const reply = await ask(api, `/graphql?query=${encodeURIComponent(document ?? '')}`, {
          token: bob.token,
          headers: { accept: 'text/event-stream' },
        });
        expect(await reply.whole()).toContain(answer);
      }
    }
    const open = await Promise.all(Array.from({ length: STREAMS_PER_USER_MAX }, () => subscribe(id, bob)));
    await print(api, await numberedChunk(id, 1, 1));
    await endJob(api, bob, id, 1);
    for (const reply of open) expect(await reply.whole()).toContain('line 1 é');
  });

  test('whose clients leave before they begin return their places', async () => {
    const id = await runningJob(api, bob);
    const { hostname, port } = new URL(api.url);
    const path = `/graphql?query=${encodeURIComponent(`subscription { jobLogs(jobId: "${id}") { text } }`)}`;
    const head = `GET ${path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${bob.token}\r\n\r\n`;
    for (let n = 0; n < STREAMS_PER_USER_MAX; n += 1) {
      const socket = connect(Number(port), hostname, () => {
        // Disconnects between the request and its answer.
        socket.write(head, () => setImmediate(() => socket.destroy()));
      });
      await once(socket, 'close');
    }
    const status = async () => {
      const reply = await ask(api, `/logs/${id}`, { token: bob.token });
      await reply.whole();
      return reply.status;
    };
    const open: Reply[] = [];
    for (let n = 0; n < STREAMS_PER_USER_MAX - 1; n += 1) {
      await expect.poll(status).toBe(200);
      open.push(await subscribe(id, bob));
    }
    expect(await status()).toBe(200);
    for (const reply of open) reply.leave();
  });
});
