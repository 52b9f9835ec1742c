import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { HELD_BYTES_PER_OWNER_MAX } from '../../api/admission/connections.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { connectionsOf } from '../support/connections.ts';
import { frame, ping, upgradeRequest } from '../support/frames.ts';
import { runningJob } from '../support/jobs.ts';
import { type Person, person, query, type TestApi, testApi } from './support.ts';

const UNREAD_MS = 1_000;
const CHUNKS = 40;
const LINES_PER_CHUNK = 500;
// 20 MB in total: more than the system buffers for a connection that nobody reads.
const TEXT = 'x'.repeat(1_000);

describe('a client that does not read', () => {
  let api: TestApi;
  let ann: Person;
  let jobId: string;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    api = await testApi({ times: { unreadMs: UNREAD_MS, pieceMs: 3_000, stalledMs: 500 } });
    ann = await person(api);
    jobId = await runningJob(api, ann);
    for (let n = 0; n < CHUNKS; n += 1) {
      const lines = Array.from({ length: LINES_PER_CHUNK }, () =>
        formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', TEXT),
      );
      const [firstNumber, lastNumber] = [n * LINES_PER_CHUNK + 1, (n + 1) * LINES_PER_CHUNK];
      const packed = await packLines(Buffer.from(lines.join('')));
      await insertChunks(api.db, [{ sourceId: jobId, attempt: 1, firstNumber, lastNumber, lines: packed }]);
    }
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(() => api.close());

  /** Sends `pieces`, and does not read unless the test resumes the socket. */
  async function unread(...pieces: (string | Buffer)[]): Promise<Socket> {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    socket.on('error', () => undefined).pause();
    await once(socket, 'connect');
    for (const piece of pieces) socket.write(piece);
    return socket;
  }

  const get = (path: string, headers = '') =>
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${ann.token}\r\n${headers}\r\n`;
  const logs = (id: string) => `subscription { jobLogs(jobId: "${id}") { lines { number text } } }`;
  const events = (id: string) => get(`/graphql?query=${encodeURIComponent(logs(id))}`, 'Accept: text/event-stream\r\n');
  const init = () =>
    frame(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));

  /**
   * Resolves when the server has no connection left. Its clients do not leave, so it has cut them.
   */
  async function cut(): Promise<void> {
    const { port } = new URL(api.url);
    await expect.poll(() => connectionsOf(process.pid, Number(port))).toBe(0);
  }

  test.each([
    ['of a download', () => get(`/logs/${jobId}`)],
    ['of a followed log', () => get(`/logs/${jobId}?follow`)],
    ['of a subscription over SSE', () => events(jobId)],
  ])('%s is cut if it reads nothing for a while', async (_, request) => {
    const started = performance.now();
    await unread(request());
    await cut();
    expect(performance.now() - started).toBeGreaterThan(UNREAD_MS);
    await answers();
  });

  test('and keeps sending is cut all the same', async () => {
    const socket = await unread(get(`/logs/${jobId}`));
    const dribble = setInterval(() => socket.write('\r\n'), 200);
    await cut().finally(() => clearInterval(dribble));
    await answers();
  });

  test('is not disturbed while there is nothing to send', async () => {
    const silent = await runningJob(api, ann);
    await unread(get(`/logs/${silent}?follow`));
    // The elapsed time itself is tested.
    await new Promise((resolve) => setTimeout(resolve, 3 * UNREAD_MS));
    const { port } = new URL(api.url);
    // The one connection of this client.
    await expect.poll(() => connectionsOf(process.pid, Number(port))).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, UNREAD_MS));
    expect(await connectionsOf(process.pid, Number(port))).toBe(1);
  });

  test('of a WebSocket, which pings endlessly, gets no more than the answer to the latest ping', async () => {
    const before = process.memoryUsage().rss;
    const socket = await unread(upgradeRequest(), init());
    const flood = Buffer.concat(Array.from({ length: 5_000 }, () => ping('p'.repeat(125))));
    for (let n = 0; n < 40 && !socket.destroyed; n += 1) {
      if (!socket.write(flood)) await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
    await answers();
  });

  test('does not affect another client that reads', async () => {
    await Promise.all([unread(get(`/logs/${jobId}?follow`)), unread(events(jobId))]);
    const response = await fetch(new URL(`/logs/${jobId}`, api.url), {
      headers: { authorization: `Bearer ${ann.token}` },
    });
    expect((await response.text()).length).toBe(CHUNKS * LINES_PER_CHUNK * (TEXT.length + 1));
  });

  async function answers(): Promise<void> {
    expect(await query(api, '{ viewer { id } }', { token: ann.token })).toEqual({ data: { viewer: { id: ann.id } } });
  }
});

describe('messages that are not finished', () => {
  let api: TestApi;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    api = await testApi({ times: { stalledMs: 500 } });
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await api.close();
  });

  test('hold a bounded number of bytes per address: beyond it the largest are cut, and no small one', async () => {
    const bob = await person(api, 'bob');
    const { hostname, port } = new URL(api.url);
    const begun = frame('x'.repeat(1_000_000)).subarray(0, 990_000);
    const count = Math.ceil(HELD_BYTES_PER_OWNER_MAX / begun.length) + 10;
    const small = await begin('{"type":');
    for (let n = 0; n < count; n += 1) await begin(begun);

    async function begin(part: string | Buffer): Promise<Socket> {
      const socket = connect(Number(port), hostname);
      sockets.push(socket);
      socket.on('error', () => undefined).resume();
      socket.write(upgradeRequest());
      const init = { type: 'connection_init', payload: { authorization: `Bearer ${bob.token}` } };
      await once(socket, 'data');
      socket.write(frame(JSON.stringify(init)));
      await once(socket, 'data');
      socket.write(typeof part === 'string' ? frame(part).subarray(0, 6) : part);
      return socket;
    }

    const left = () => sockets.filter(({ destroyed }) => !destroyed).length - 1;
    await expect.poll(left).toBeLessThan(count);
    await expect.poll(left).toBeGreaterThan(50); // it cuts no more than necessary
    expect(small.destroyed).toBe(false);
    expect(await query(api, '{ viewer { id } }', { token: bob.token })).toHaveProperty('data.viewer.id', bob.id);
  });
});
