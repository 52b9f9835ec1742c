import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IS_LONG, MARGIN_MS, runMs, SEED } from './bounds.ts';
import { type Explored, explore } from './explore.ts';
import { openRunner, type Runner, type Scenario } from './orders.ts';
import { reportOf } from './report.ts';
import { pairs, table } from './scenarios.ts';

/** Each runner has its own database. While one waits for an answer, another one runs. */
const RUNNERS = 3;
const RUN_MS = runMs({ long: 25, quick: 5 });

let runners: Runner[];
beforeAll(async () => {
  runners = await Promise.all(Array.from({ length: RUNNERS }, () => openRunner(2)));
});
afterAll(() => Promise.all(runners.map((runner) => runner.close())));

async function exploreAll(scenarios: Scenario[], untilMs: number, preemptionsMax: number) {
  const left = [...scenarios];
  const results: { scenario: Scenario; explored: Explored }[] = [];
  const explorations = await Promise.allSettled(
    runners.map(async (runner) => {
      while (performance.now() < untilMs) {
        const scenario = left.shift();
        if (scenario === undefined) return;
        results.push({
          scenario,
          explored: await explore(runner.of(scenario), { ordersMax: ORDERS_MAX, untilMs, preemptionsMax }),
        });
      }
    }),
  );
  for (const one of explorations) if (one.status === 'rejected') throw one.reason;
  return results;
}

const ORDERS_MAX = 2_000;

function reports(results: { scenario: Scenario; explored: Explored }[]): string {
  return results
    .flatMap(({ scenario, explored }) => explored.broken.map((one) => reportOf(scenario, one)))
    .join('\n\n');
}

describe('P1, P2, P3, P7', () => {
  test(
    'no order of two verbs breaks a rule',
    async () => {
      const { seed = Date.now() % 0x7fff_ffff } = SEED;
      const scenarios = pairs(seed);
      const results = await exploreAll(scenarios, performance.now() + RUN_MS, IS_LONG ? Number.POSITIVE_INFINITY : 1);
      const orders = results.reduce((sum, { explored }) => sum + explored.orders, 0);
      console.info(
        `Seed ${seed}: ${orders} orders of ${results.length} of ${scenarios.length} pairs with their states.`,
      );
      expect(reports(results)).toBe('');
      expect(orders).toBeGreaterThan(0);
    },
    RUN_MS + MARGIN_MS,
  );

  test('a request that commits between the snapshot and the lock of scheduling is found within seconds', async () => {
    const scenario: Scenario = { state: 'DUE', verbs: ['dispatch', 'request'], splitting: ['dispatch'] };
    const results = await exploreAll([scenario], Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    expect(reports(results)).toBe('');
    expect(results).toMatchObject([{ explored: { isComplete: true } }]);
  });

  test('an attempt that was returned uncounted keeps its number', async () => {
    const scenario: Scenario = { state: 'QUEUED', verbs: ['claim', 'return uncounted'] };
    const results = await exploreAll([scenario], Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    expect(reports(results)).toBe('');
  });
});

test('the verbs, and the states in which they are tried, are listed for readers', async () => {
  const page = await readFile('docs/internals/interleavings.md', 'utf8');
  expect(page.split('\n')).toEqual(expect.arrayContaining(table()));
});
