import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import WebSocket from 'ws';
import type { LogChunk } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { type Person, person, type TestApi, testApi } from '../api/support.ts';
import { endJob, runningJob } from '../support/jobs.ts';
import { print } from '../support/lines.ts';

const CHUNKS = 150;
const LINES_PER_CHUNK = 200;
const LINES = CHUNKS * LINES_PER_CHUNK;
// 30 MB in total: more than the system buffers for a connection that nobody reads.
const TEXT = 'x'.repeat(1_000);
const MINUTE_MS = 60_000;

/**
 * A timer of each socket checks from time to time whether the peer still answers. Only this timer
 * uses the test's clock.
 */
describe('a WebSocket subscriber whose client does not read', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  afterAll(() => api.close());

  async function chunk(sourceId: string, n: number): Promise<LogChunk> {
    const firstNumber = n * LINES_PER_CHUNK + 1;
    const lines = Array.from({ length: LINES_PER_CHUNK }, (_, line) =>
      formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', `${firstNumber + line} ${TEXT}`),
    );
    const lastNumber = firstNumber + LINES_PER_CHUNK - 1;
    return { sourceId, attempt: 1, firstNumber, lastNumber, lines: await packLines(Buffer.from(lines.join(''))) };
  }

  /** Follows the job, and stops reading after the first lines. */
  async function paused(jobId: string) {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const socket = new WebSocket(api.url.replace('http', 'ws'), 'graphql-transport-ws');
    const texts: string[] = [];
    const ended = new Promise<string>((resolve) => {
      socket.once('close', (code) => resolve(`closed with ${code}`));
      socket.on('message', (data) => {
        const { type, payload } = JSON.parse(String(data));
        if (type === 'next') texts.push(...payload.data.jobLogs.text.split('\n').slice(0, -1));
        if (type === 'complete') resolve('complete');
      });
    });
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ann.token}` } }));
    await once(socket, 'message');
    const query = `subscription { jobLogs(jobId: "${jobId}") { text } }`;
    socket.send(JSON.stringify({ type: 'subscribe', id: '1', payload: { query } }));
    await once(socket, 'message');
    socket.pause();
    return { socket, texts, ended };
  }

  test('P4: for some minutes while much is printed gets every line once when it reads again', async () => {
    const id = await runningJob(api, ann);
    await print(api, await chunk(id, 0));
    const { socket, texts, ended } = await paused(id);
    for (let n = 1; n < CHUNKS; n += 1) {
      await print(api, await chunk(id, n));
      if (n % 40 === 0) vi.advanceTimersByTime(MINUTE_MS);
    }
    await endJob(api, ann, id, LINES);
    vi.advanceTimersByTime(MINUTE_MS);
    expect(texts.length).toBeLessThan(LINES);
    socket.resume();
    expect(await ended).toBe('complete');
    expect(texts).toHaveLength(LINES);
    expect(texts.findIndex((text, index) => text !== `${index + 1} ${TEXT}`)).toBe(-1);
    socket.ping();
    await once(socket, 'pong'); // the server has received the client's answers
    vi.advanceTimersByTime(4 * MINUTE_MS); // unanswered pings from before no longer count
    expect(socket.readyState).toBe(WebSocket.OPEN);
    socket.terminate();
  });

  test('counts as gone after more than five minutes', async () => {
    const id = await runningJob(api, ann);
    await print(api, await chunk(id, 0));
    const { socket, ended } = await paused(id);
    vi.advanceTimersByTime(6 * MINUTE_MS);
    socket.resume();
    expect(await ended).toBe('closed with 1006');
  });
});
