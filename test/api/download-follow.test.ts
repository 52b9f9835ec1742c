import { once } from 'node:events';
import { ServerResponse } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { eq, sql } from 'drizzle-orm';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logCursor } from '../../api/logs/cursor.ts';
import { type Api, startApi } from '../../api/server.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { jobs } from '../../db/schema.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { numberedChunk, numberedText, print } from '../support/lines.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { testSealer } from '../support/workers.ts';
import { ask, type Reply } from './download-client.ts';
import { type Person, person, query, type TestApi, testApi } from './support.ts';

const FORMS: [string, Record<string, string>][] = [
  ['text', {}],
  ['text with gzip', { 'accept-encoding': 'gzip' }],
  ['NDJSON', { accept: 'application/x-ndjson' }],
  ['NDJSON with gzip', { accept: 'application/x-ndjson', 'accept-encoding': 'gzip' }],
];

describe('a download that follows', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api, 'ann');
  });
  afterAll(() => api.close());

  const follow = (id: string, headers: Record<string, string> = {}, more = '') =>
    ask(api, `/logs/${id}?follow${more}`, { token: ann.token, headers });

  /**
   * An api over the same database with its own bus and cache, which count how often they are
   * watched.
   */
  async function otherApi(): Promise<{ api: Api; bus: Bus; watched: () => number[]; close(): Promise<void> }> {
    const log = pino({ level: 'silent' });
    const memory = createMemoryBus({ log });
    let [lines, hints] = [0, 0];
    const bus: Bus = {
      ...memory,
      async tail(options) {
        const tail = await memory.tail(options);
        return {
          close: () => tail.close(),
          watch: (key) => {
            lines += 1;
            return tail.watch(key);
          },
          unwatch: (key) => {
            lines -= 1;
            tail.unwatch(key);
          },
        };
      },
    };
    const cache: Cache = {
      ...api.cache,
      async subscribe(channel, onMessage, onGap) {
        const unsubscribe = await api.cache.subscribe(channel, onMessage, onGap);
        hints += 1;
        return () => {
          hints -= 1;
          unsubscribe();
        };
      },
    };
    const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: true, maxJobSeconds: 1 };
    const started = await startApi({ db: api.db, bus, cache, log, sealer: testSealer, settings });
    return {
      api: started,
      bus,
      watched: () => [lines, hints],
      close: async () => {
        await started.close();
        await bus.close();
      },
    };
  }

  /** The last line in the requested format. */
  const ending = ({ headers }: Reply, id: string, number: number) =>
    headers['content-type']?.startsWith('text')
      ? `line ${number} é\n`
      : `"text":"line ${number} é","continues":false,"attempt":1,"cursor":"${logCursor(id, number)}"}\n`;

  test.each(FORMS)('is live and ends with the job: %s', async (_, headers) => {
    const id = await runningJob(api, ann);
    const reply = await follow(id, headers); // the headers arrive before the first line
    expect(reply.status).toBe(200);
    expect(reply.received()).toBe('');
    for (const [first, last] of [
      [1, 1],
      [2, 2],
      [3, 500],
      [501, 501],
    ] as const) {
      await print(api, await numberedChunk(id, first, last));
      await reply.endsWith(ending(reply, id, last)); // before the next chunk is printed
    }
    await endJob(api, ann, id, 501);
    const whole = await reply.whole();
    if (headers.accept === undefined) expect(whole).toBe(numberedText(1, 501));
    else expect(whole.match(/"number":\d+/g)).toEqual(Array.from({ length: 501 }, (__, n) => `"number":${n + 1}`));
  });

  test('begins with the stored lines, continues behind a cursor, and can be of one stream', async () => {
    const id = await runningJob(api, ann);
    await print(api, await numberedChunk(id, 1, 10));
    const [whole, behind, oneStream] = [
      await follow(id),
      await follow(id, {}, `&after=${logCursor(id, 4)}`),
      await follow(id, {}, '&stream=STDOUT'),
    ];
    await whole.endsWith('line 10 é\n');
    await oneStream.endsWith('line 9 é\n');
    await print(api, await numberedChunk(id, 11, 12));
    await endJob(api, ann, id, 12);
    expect(await whole.whole()).toBe(numberedText(1, 12));
    expect(await behind.whole()).toBe(numberedText(5, 12));
    expect(await oneStream.whole()).toBe([1, 3, 5, 7, 9, 11].map((number) => `line ${number} é\n`).join(''));
  });

  test('of a silent job ends with the job, empty', async () => {
    const id = await runningJob(api, ann);
    const reply = await follow(id, { 'accept-encoding': 'gzip' });
    await endJob(api, ann, id, 0);
    expect(await reply.whole()).toBe('');
    expect(await (await follow(id)).whole()).toBe('');
  });

  test('that was cut continues on another process with the cursor of its last whole line', async () => {
    const id = await runningJob(api, ann);
    const other = await otherApi();
    const first = await ask(other.api, `/logs/${id}?follow`, {
      token: ann.token,
      headers: { accept: 'application/x-ndjson' },
    });
    const printed = await numberedChunk(id, 1, 5);
    await print({ db: api.db, bus: other.bus }, printed);
    await first.endsWith(ending(first, id, 5));
    await other.close();
    await expect(first.whole()).rejects.toMatchObject({ code: 'ECONNRESET' });
    const last = JSON.parse(first.received().trimEnd().split('\n').at(-1) ?? '');
    const rest = await follow(id, {}, `&after=${last.cursor}`);
    await print(api, await numberedChunk(id, 6, 9));
    await endJob(api, ann, id, 9);
    expect(await rest.whole()).toBe(numberedText(6, 9));
  });

  test.each(FORMS)('is cut when the server shuts down, which does not wait for it: %s', async (_, headers) => {
    const id = await runningJob(api, ann);
    await print(api, await numberedChunk(id, 1, 1));
    const other = await otherApi();
    const reply = await ask(other.api, `/logs/${id}?follow`, { token: ann.token, headers });
    await reply.endsWith(ending(reply, id, 1));
    const passedMs = stopwatch();
    await other.close();
    expect(passedMs()).toBeLessThan(3_000); // a request may take 5 s
    await expect(reply.whole()).rejects.toThrow();
    await expect.poll(() => other.watched()[0]).toBe(0);
  });

  test('is cut within 5 seconds of the end of its token', async () => {
    const { token, id: userId } = await person(api, 'leaving');
    const id = await runningJob(api, { ...ann, id: userId });
    await print(api, await numberedChunk(id, 1, 1));
    const reply = await ask(api, `/logs/${id}?follow`, { token });
    await reply.endsWith('line 1 é\n');
    const passedMs = stopwatch();
    await query(api, 'mutation { signOut { userErrors { code } } }', { token });
    await expect(reply.whole()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(passedMs()).toBeLessThan(5_000);
  });

  test('is cut when the database fails, and when its job is purged', async () => {
    const id = await runningJob(api, ann);
    const broken = await follow(id);
    await api.db.execute(sql`ALTER TABLE log_chunks RENAME TO elsewhere`);
    await endJob(api, ann, id, 1); // the api looks for the line in the store
    await expect(broken.whole()).rejects.toMatchObject({ code: 'ECONNRESET' });
    await api.db.execute(sql`ALTER TABLE elsewhere RENAME TO log_chunks`);

    const gone = await runningJob(api, ann);
    const reply = await follow(gone);
    await api.db.delete(jobs).where(eq(jobs.id, gone));
    await expect(reply.whole()).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('whose client leaves is unsubscribed at once', async () => {
    const id = await runningJob(api, ann);
    const other = await otherApi();
    for (const [, headers] of FORMS) {
      const reply = await ask(other.api, `/logs/${id}?follow`, { token: ann.token, headers });
      await expect.poll(other.watched).toEqual([1, 1]);
      reply.leave();
      await expect.poll(other.watched).toEqual([0, 0]);
    }
    const { hostname, port } = new URL(other.api.url);
    for (let n = 0; n < 20; n += 1) {
      const socket = connectTcp(Number(port), hostname, () => {
        const head = `GET /logs/${id}?follow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`;
        // Disconnects between the request and its answer.
        socket.write(head, () => setImmediate(() => socket.destroy()));
      });
      await once(socket, 'close');
    }
    const last = await ask(other.api, `/logs/${id}?follow`, { token: ann.token });
    await expect.poll(other.watched).toEqual([1, 1]);
    last.leave();
    await expect.poll(other.watched).toEqual([0, 0]);
    await other.close();
  });

  test('shows a client of HTTP/1.0 too whether it is complete', async () => {
    const id = await runningJob(api, ann);
    await print(api, await numberedChunk(id, 1, 1));
    const other = await otherApi();
    const { hostname, port } = new URL(other.api.url);
    const open = async () => {
      const socket = connectTcp(Number(port), hostname, () =>
        socket.write(`GET /logs/${id}?follow HTTP/1.0\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`),
      );
      let text = '';
      const end = new Promise<string>((resolve) => {
        socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
        socket.on('end', () => resolve('whole'));
      });
      await new Promise<void>((resolve) => {
        socket.on('data', (data) => {
          text += data;
          if (text.endsWith('line 1 é\n')) resolve();
        });
      });
      return { end };
    };
    const cut = await open();
    await other.close();
    expect(await cut.end).toBe('ECONNRESET');
  });
});

describe('a client that does not read', () => {
  const { write } = ServerResponse.prototype;
  let [highest, written] = [0, 0];
  beforeAll(() => {
    ServerResponse.prototype.write = function (this: ServerResponse, piece: Buffer) {
      const goesOn = write.call(this, piece, 'utf8');
      highest = Math.max(highest, this.writableLength);
      written += piece.length;
      return goesOn;
    };
  });
  afterAll(() => {
    ServerResponse.prototype.write = write;
  });

  test('costs a bounded buffer, however long the log is, and receives all of it once it reads', async () => {
    const api = await testApi();
    const ann = await person(api);
    const id = await runningJob(api, ann);
    const line = 'x'.repeat(16_000);
    const chunk = async (first: number, last: number) => {
      const lines = Array.from({ length: last - first + 1 }, (_, n) =>
        formatLine('STDOUT', '2026-01-01T00:00:00.000Z', `${first + n} ${line}`),
      );
      const packed = await packLines(Buffer.from(lines.join('')));
      return { sourceId: id, attempt: 1, firstNumber: first, lastNumber: last, lines: packed };
    };
    const lineCount = 4_000; // 64 MB
    for (let first = 1; first <= lineCount; first += 160) {
      const chunks = Array.from({ length: 10 }, (_, n) => chunk(first + n * 16, first + n * 16 + 15));
      await insertChunks(api.db, await Promise.all(chunks));
    }
    await endJob(api, ann, id, lineCount);

    for (const query of ['?follow', '']) {
      [highest, written] = [0, 0];
      const reply = await ask(api, `/logs/${id}${query}`, { token: ann.token });
      reply.stream.pause();
      let before = -1;
      const isStuck = () => {
        const stuck = written > 0 && written === before;
        before = written;
        return stuck;
      };
      await expect.poll(isStuck, { interval: 500, timeout: 20_000 }).toBe(true);
      expect(written).toBeLessThan(16 * 1024 * 1024); // the rest is in the buffers of the system
      // Stored after the download began.
      if (query === '') await insertChunks(api.db, [await chunk(lineCount - 15, lineCount + 10)]);
      reply.stream.resume();
      await reply.whole();
      expect(reply.bytes().length).toBe(written);
      expect(reply.received().match(/^\d+/gm)).toEqual(Array.from({ length: lineCount }, (_, n) => String(n + 1)));
      expect(highest).toBeLessThan(1024 * 1024);
    }
    await api.close();
  });
});
