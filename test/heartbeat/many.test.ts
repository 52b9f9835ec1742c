import http from 'node:http';
import { describe, expect, test } from 'vitest';
import { check, listening, nameServer, outcome, raw, until } from './support.ts';

const CHECKS = 1_000;
const SET = 100;
const SLOW_MS = 500;
/**
 * One after the other they would take 500 s. Four at a time, as with lookups in threads, they would
 * still take 125 s.
 */
const TOGETHER_MS_MAX = 10_000;

describe('1,000 heartbeats of slow endpoints at once', () => {
  test('do not wait for each other', async () => {
    const { host } = await listening(
      http.createServer((_, response) => void setTimeout(() => response.end(), SLOW_MS)),
    );
    const started = performance.now();
    const results = await many(() => check({ endpoint: `http://${host}/`, timeout_seconds: 60 }));
    const took = performance.now() - started;
    expect(tally(results.map(outcome))).toEqual({ ok: CHECKS });
    expect(took).toBeLessThan(TOGETHER_MS_MAX);
    console.info(`${CHECKS} endpoints that answer after ${SLOW_MS} ms: ${took.toFixed(0)} ms.`);
  });

  test('do not wait for each other’s name lookups', async () => {
    const { names, asked } = await nameServer(() => ['127.0.0.1'], SLOW_MS);
    const { port } = await raw((socket) => socket.resume());
    const started = performance.now();
    const results = await many(
      (n) => check({ endpoint: `tcp://slow${n}.test:${port}`, timeout_seconds: 60 }, { names }),
      (made) => until(() => asked.length >= 2 * made, 'the queries to arrive'),
    );
    const took = performance.now() - started;
    expect(tally(results.map(outcome))).toEqual({ ok: CHECKS });
    expect(took).toBeLessThan(TOGETHER_MS_MAX);
    console.info(`${CHECKS} names that resolve after ${SLOW_MS} ms: ${took.toFixed(0)} ms.`);
  });

  test('do not slow a quick one down, and all end at once on an abort', async () => {
    const silent = await raw((socket) => socket.resume());
    const quick = await listening(http.createServer((_, response) => response.end()));
    const abort = new AbortController();
    const slow = many(() =>
      check({ endpoint: `http://${silent.host}/`, timeout_seconds: 300 }, { signal: abort.signal }),
    );
    expect(outcome(await check({ endpoint: `http://${quick.host}/` }))).toBe('ok');
    abort.abort();
    expect(tally((await slow).map(outcome))).toEqual({
      'SYSTEM: The check was stopped before it ended.': CHECKS,
    });
  });
});

/**
 * Starts the checks in sets, each after `arrived`. 2,000 packets at once would overflow the receive
 * buffer of the test's name server.
 */
async function many<T>(make: (n: number) => Promise<T>, arrived = async (_made: number) => {}): Promise<T[]> {
  const made: Promise<T>[] = [];
  while (made.length < CHECKS) {
    for (let n = 0; n < SET; n += 1) made.push(make(made.length));
    await arrived(made.length);
  }
  return Promise.all(made);
}

function tally(outcomes: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
