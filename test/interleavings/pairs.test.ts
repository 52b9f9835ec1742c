import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IS_LONG, MARGIN_MS, runMs, SEED } from './bounds.ts';
import { pairs, table } from './casts.ts';
import { type Explored, explore } from './explore.ts';
import { type Cast, openStage, type Stage } from './orders.ts';
import { reportOf } from './report.ts';

/** Each on a database of its own: while one waits for an answer, another one runs. */
const STAGES = 3;
const RUN_MS = runMs({ long: 25, quick: 5 });

let stages: Stage[];
beforeAll(async () => {
  stages = await Promise.all(Array.from({ length: STAGES }, () => openStage(2)));
});
afterAll(() => Promise.all(stages.map((stage) => stage.close())));

async function exploreAll(casts: Cast[], untilMs: number, preemptionsMax: number) {
  const left = [...casts];
  const results: { cast: Cast; explored: Explored }[] = [];
  const explorations = await Promise.allSettled(
    stages.map(async (stage) => {
      while (performance.now() < untilMs) {
        const cast = left.shift();
        if (cast === undefined) return;
        results.push({
          cast,
          explored: await explore(stage.of(cast), { ordersMax: ORDERS_MAX, untilMs, preemptionsMax }),
        });
      }
    }),
  );
  for (const one of explorations) if (one.status === 'rejected') throw one.reason;
  return results;
}

const ORDERS_MAX = 2_000;

function reports(results: { cast: Cast; explored: Explored }[]): string {
  return results.flatMap(({ cast, explored }) => explored.broken.map((one) => reportOf(cast, one))).join('\n\n');
}

describe('P1, P2, P3, P7', () => {
  test(
    'no order of two verbs breaks anything',
    async () => {
      const { seed = Date.now() % 0x7fff_ffff } = SEED;
      const casts = pairs(seed);
      const results = await exploreAll(casts, performance.now() + RUN_MS, IS_LONG ? Number.POSITIVE_INFINITY : 1);
      const orders = results.reduce((sum, { explored }) => sum + explored.orders, 0);
      console.info(`Seed ${seed}: ${orders} orders of ${results.length} of ${casts.length} pairs with their states.`);
      expect(reports(results)).toBe('');
      expect(orders).toBeGreaterThan(0);
    },
    RUN_MS + MARGIN_MS,
  );

  test('a request that commits between the snapshot and the lock of scheduling is found within seconds', async () => {
    const cast: Cast = { state: 'DUE', verbs: ['dispatch', 'request'], splitting: ['dispatch'] };
    const results = await exploreAll([cast], Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    expect(reports(results)).toBe('');
    expect(results).toMatchObject([{ explored: { isComplete: true } }]);
  });

  test('an attempt that was given back uncounted keeps its number', async () => {
    const cast: Cast = { state: 'QUEUED', verbs: ['claim', 'return uncounted'] };
    const results = await exploreAll([cast], Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    expect(reports(results)).toBe('');
  });
});

test('the verbs and the states that they are tried in are listed for readers', async () => {
  const page = await readFile('docs/internals/interleavings.md', 'utf8');
  expect(page.split('\n')).toEqual(expect.arrayContaining(table()));
});
