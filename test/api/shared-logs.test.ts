import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { startApi } from '../../api/server.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { endJob, insertJob, runningJob } from '../support/jobs.ts';
import { numberedChunk } from '../support/lines.ts';
import { testSealer } from '../support/workers.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const FOLLOW = `subscription ($id: ID!, $after: String) {
  jobLogs(jobId: $id, after: $after) { firstNumber lastNumber cursor text } }`;

/** A WebSocket with many subscriptions, and what each of them was sent. */
class Subscriptions {
  readonly results = new Map<string, { data?: Record<string, Batch>; errors?: unknown[] }[]>();
  readonly completed = new Set<string>();
  closed: number | undefined;
  readonly socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('close', (code) => {
      this.closed = code;
    });
    socket.on('message', (data) => {
      const { id, type, payload } = JSON.parse(String(data));
      if (type === 'next') this.results.set(id, [...(this.results.get(id) ?? []), payload]);
      if (type === 'complete') this.completed.add(id);
    });
  }

  static async open({ url }: { url: string }, token: string): Promise<Subscriptions> {
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws');
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
    await once(socket, 'message');
    return new Subscriptions(socket);
  }

  subscribe(id: string, document: string, variables: object): void {
    this.socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query: document, variables } }));
  }

  complete(id: string): void {
    this.socket.send(JSON.stringify({ id, type: 'complete' }));
  }

  batches(id: string): Batch[] {
    return (this.results.get(id) ?? []).flatMap(({ data }) => Object.values(data ?? {}));
  }

  text(id: string): string {
    return this.batches(id)
      .map(({ text }) => text)
      .join('');
  }
}

interface Batch {
  firstNumber: number;
  lastNumber: number;
  cursor: string;
  text: string;
}

const numbered = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, n) => `line ${first + n} é\n`).join('');

describe('a log that many follow', () => {
  let api: TestApi;
  let ann: Person;
  const open: Subscriptions[] = [];
  const socket = async (token = ann.token) => {
    const made = await Subscriptions.open(api, token);
    open.push(made);
    return made;
  };
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
  });
  afterAll(async () => {
    for (const made of open) made.socket.terminate();
    await api.close();
  });

  const print = async (...chunks: LogChunk[]) => {
    await api.bus.publish(
      'job_logs',
      chunks.map((chunk) => ({ key: chunk.sourceId, value: encodeChunks([chunk]) })),
    );
    await insertChunks(api.db, chunks);
  };
  /** The cursors of the first lines. */
  const cursorsOf = async (id: string) => {
    const document = 'query ($id: ID!) { job(id: $id) { logs(first: 100) { edges { cursor } } } }';
    const { data } = await query(api, document, { token: ann.token, variables: { id } });
    return data.job.logs.edges.map(({ cursor }: { cursor: string }) => cursor) as string[];
  };

  test('P4: gives each of 200 subscribers every line behind its cursor once, whenever it joins', async () => {
    const id = await runningJob(api, ann);
    await print(await numberedChunk(id, 1, 100));
    const cursors = await cursorsOf(id);
    const sockets = await Promise.all(Array.from({ length: 20 }, () => socket()));
    let last = 100;
    for (let n = 0; n < 200; n += 1) {
      sockets[n % 20]?.subscribe(String(n), FOLLOW, { id, after: n % 4 === 0 ? undefined : cursors[n % 100] });
      if (n % 3 > 0) continue;
      const size = 1 + (n % 7);
      await print(await numberedChunk(id, last + 1, last + size)); // while they join
      last += size;
    }
    for (let n = 0; n < 50; n += 1, last += 2) await print(await numberedChunk(id, last + 1, last + 2));
    await endJob(api, ann, id, last);
    await expect.poll(() => sockets.reduce((sum, { completed }) => sum + completed.size, 0)).toBe(200);
    for (let n = 0; n < 200; n += 1) {
      const first = n % 4 === 0 ? 1 : (n % 100) + 2;
      expect([n, sockets[n % 20]?.text(String(n))]).toEqual([n, numbered(first, last)]);
    }
  });

  test('P4: delays nobody for one that does not read, which loses nothing', async () => {
    const id = await runningJob(api, ann);
    const [slow, fast] = [await socket(), await socket()];
    for (const each of [slow, fast]) each.subscribe('1', FOLLOW, { id });
    await print(await numberedChunk(id, 1, 1));
    await expect.poll(() => [slow.text('1'), fast.text('1')]).toEqual([numbered(1, 1), numbered(1, 1)]);
    slow.socket.pause();
    const size = 10_000; // 10 MB in all, more than connections buffer
    for (let first = 2; first < 60 * size; first += size) await print(await numberedChunk(id, first, first + size - 1));
    const last = 60 * size + 1;
    await expect.poll(() => fast.batches('1').at(-1)?.lastNumber).toBe(last);
    expect(slow.batches('1').at(-1)?.lastNumber).toBe(1);
    slow.socket.resume();
    await endJob(api, ann, id, last);
    await expect.poll(() => slow.completed.size).toBe(1);
    for (const each of [slow, fast]) {
      let next = 1;
      for (const { firstNumber, lastNumber } of each.batches('1')) {
        expect(firstNumber).toBe(next);
        next = lastNumber + 1;
      }
      expect(next).toBe(last + 1);
    }
  }, 60_000);

  test('P4: goes on behind each cursor after a restart, while lines come', async () => {
    const id = await runningJob(api, ann);
    for (let first = 1; first < 300; first += 10) await print(await numberedChunk(id, first, first + 9));
    const cursors = await cursorsOf(id);
    const { db, bus, cache } = api;
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 1 };
    const again = await startApi({ db, bus, cache, log: pino({ level: 'silent' }), sealer: testSealer, settings });
    const sockets = await Promise.all(Array.from({ length: 12 }, () => Subscriptions.open(again, ann.token)));
    open.push(...sockets);
    sockets[0]?.socket.pause(); // the first of them stands still
    let last = 300;
    for (let n = 0; n < 120; n += 1) {
      sockets[n % 12]?.subscribe(String(n), FOLLOW, { id, after: cursors[(n * 7) % 100] });
      if (n % 4 > 0) continue;
      await print(await numberedChunk(id, last + 1, last + 1));
      last += 1;
    }
    sockets[0]?.socket.resume();
    await endJob(api, ann, id, last);
    await expect.poll(() => sockets.reduce((sum, { completed }) => sum + completed.size, 0)).toBe(120);
    for (let n = 0; n < 120; n += 1)
      expect([n, sockets[n % 12]?.text(String(n))]).toEqual([n, numbered(((n * 7) % 100) + 2, last)]);
    await again.close();
  });

  test('is complete for all who follow it when its workflow is purged', async () => {
    const { workflow } = await createWorkflow(api, ann, { interval: 60 });
    const id = await insertJob(api.db, ann.id, { workflowId: workflow.id });
    const one = await socket();
    for (const name of ['first', 'second']) one.subscribe(name, FOLLOW, { id });
    await print(await numberedChunk(id, 1, 5));
    await expect.poll(() => ['first', 'second'].map((name) => one.text(name))).toEqual(Array(2).fill(numbered(1, 5)));
    const remove = 'mutation ($id: ID!) { deleteWorkflow(input: { id: $id, purge: true }) { userErrors { code } } }';
    await query(api, remove, { token: ann.token, variables: { id: workflow.id } });
    while (await purgeSome(api.db)) {}
    await expect.poll(() => [...one.completed]).toEqual(['first', 'second']);
    for (const name of ['first', 'second']) {
      expect(one.text(name)).toBe(numbered(1, 5));
      expect(one.results.get(name)?.filter(({ errors }) => errors)).toEqual([]);
    }
  });

  test('shows each who meets lines that cannot be read an error, and the lines behind them', async () => {
    const id = await runningJob(api, ann);
    await print(await numberedChunk(id, 1, 100));
    const cursors = await cursorsOf(id);
    const whole = await numberedChunk(id, 101, 300);
    await print({ ...whole, lines: whole.lines.fill(0, 20, 60) });
    const one = await socket();
    const errorsOf = (name: string) => (one.results.get(name) ?? []).filter(({ errors }) => errors).length;
    for (const [n, name] of ['first', 'second', 'third'].entries()) {
      one.subscribe(name, FOLLOW, { id, after: cursors[n] });
      await expect.poll(() => errorsOf(name)).toBe(1);
    }
    await print(await numberedChunk(id, 301, 301));
    for (const name of ['first', 'second', 'third'])
      await expect.poll(() => one.batches(name).at(-1)).toMatchObject({ text: numbered(301, 301) });
  });

  test('ends for the one whose token ends, and for nobody else', async () => {
    const id = await runningJob(api, ann);
    const created = 'mutation { createApiToken(input: { name: "x" }) { secret apiToken { id } } }';
    const { secret, apiToken } = (await query(api, created, { token: ann.token })).data.createApiToken;
    const [mine, other] = [await socket(), await socket(secret)];
    for (const each of [mine, other]) each.subscribe('1', FOLLOW, { id });
    await print(await numberedChunk(id, 1, 1));
    await expect.poll(() => [mine.text('1'), other.text('1')]).toEqual([numbered(1, 1), numbered(1, 1)]);
    const revoke = `mutation { revokeApiToken(input: { id: "${apiToken.id}" }) { userErrors { code } } }`;
    await query(api, revoke, { token: ann.token });
    await expect.poll(() => other.closed).toBe(4403);
    await print(await numberedChunk(id, 2, 2));
    await expect.poll(() => mine.text('1')).toBe(numbered(1, 2));
    expect(other.text('1')).toBe(numbered(1, 1));
  });

  test('goes on for those who join while the last one leaves', async () => {
    const id = await runningJob(api, ann);
    await print(await numberedChunk(id, 1, 100));
    const cursors = await cursorsOf(id);
    const one = await socket();
    let last = 100;
    const names: string[] = [];
    for (let n = 0; n < 30; n += 1) {
      const name = `name ${n}`;
      names.push(name);
      one.subscribe(name, FOLLOW, { id, after: cursors.at(-1) });
      await expect.poll(() => n === 0 || one.batches(name).length > 0 || last === 100, { interval: 1 }).toBe(true);
      await print(await numberedChunk(id, last + 1, last + 1));
      last += 1;
      if (n % 3 === 0) await turn();
      if (n > 0) one.complete(`name ${n - 1}`);
    }
    await endJob(api, ann, id, last);
    await expect.poll(() => one.completed.has('name 29')).toBe(true);
    expect(one.text('name 29')).toBe(numbered(101, last));
    for (const name of names) expect(numbered(101, last).startsWith(one.text(name))).toBe(true);
  });

  test('is what each document asks for, over both transports', async () => {
    const id = await runningJob(api, ann);
    const one = await socket();
    const documents = [
      FOLLOW,
      'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { text } }',
      'subscription ($id: ID!, $is: Boolean = true) { jobLogs(jobId: $id) { text lastNumber @include(if: $is) } }',
      'subscription ($id: ID!) { jobLogs(jobId: $id, stream: STDERR) { text lastNumber } }',
    ];
    for (const [n, document] of documents.entries()) one.subscribe(String(n), document, { id });
    one.subscribe('4', documents[2] ?? '', { id, is: false });
    const abort = new AbortController();
    const response = await fetch(api.url, {
      method: 'POST',
      signal: abort.signal,
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${ann.token}`,
      },
      body: JSON.stringify({ query: FOLLOW, variables: { id } }),
    });
    for (let number = 1; number <= 4; number += 1) await print(await numberedChunk(id, number, number));
    await expect.poll(() => [0, 1, 2, 4].map((n) => one.text(String(n)))).toEqual(Array(4).fill(numbered(1, 4)));
    await expect.poll(() => one.text('3')).toBe('line 2 é\nline 4 é\n');
    expect(one.batches('1').flatMap((batch) => Object.keys(batch))).not.toContain('lastNumber');
    expect(one.batches('2').at(-1)?.lastNumber).toBe(4);
    expect(one.batches('4').at(-1)).toEqual({ text: expect.any(String) });
    let events = '';
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      events += Buffer.from(part).toString();
      if (events.includes('line 4')) break;
    }
    const sent = [...events.matchAll(/^id: (.*)\ndata: (.*)$/gm)].map(([, cursor, data]) => ({
      cursor,
      ...JSON.parse(data ?? ''),
    }));
    expect(sent.map(({ data }) => data.jobLogs.text).join('')).toBe(numbered(1, 4));
    for (const { cursor, data } of sent) expect(cursor).toBe(data.jobLogs.cursor);
    abort.abort();
  });
});

test('P6: a change that many watch comes to each who asks the same, and nothing of it to another user', async () => {
  const api = await testApi();
  const people = [await person(api, 'ann'), await person(api, 'bob')];
  const sockets: Subscriptions[] = [];
  const ids: string[] = [];
  const document = 'subscription ($id: ID!) { workflowUpdated(workflowId: $id) { name } }';
  const names = (n: number, id: string) =>
    sockets[n]?.batches(id).map((row) => (row as unknown as { name: string }).name) ?? [];
  for (const who of people) {
    ids.push((await createWorkflow(api, who, { interval: 60, name: who.email })).workflow.id);
    sockets.push(await Subscriptions.open(api, who.token));
  }
  for (const [n, each] of sockets.entries()) {
    for (let count = 0; count < 20; count += 1) each.subscribe(String(count), document, { id: ids[n] });
    each.subscribe('other', document, { id: ids[1 - n] });
    for (let count = 0; count < 20; count += 1)
      await expect.poll(() => names(n, String(count)).at(-1)).toBe(people[n]?.email);
  }
  const update = 'mutation ($id: ID!) { updateWorkflow(input: { id: $id, name: "changed" }) { userErrors { code } } }';
  expect(await query(api, update, { token: people[0]?.token ?? '', variables: { id: ids[0] } })).toMatchObject({
    data: { updateWorkflow: { userErrors: [] } },
  });
  for (let count = 0; count < 20; count += 1) {
    await expect.poll(() => names(0, String(count)).at(-1)).toBe('changed');
    expect(names(1, String(count))).toEqual([people[1]?.email]);
  }
  for (const each of sockets)
    expect(each.results.get('other')?.[0]?.errors?.[0]).toMatchObject({ extensions: { code: 'NOT_FOUND' } });
  for (const each of sockets) each.socket.terminate();
  await api.close();
});
