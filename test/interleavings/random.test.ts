import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withinTime } from '../support/time-limit.ts';
import { IS_TIMED, MARGIN_MS, RUNS_PER_SECOND_MAX, runMs, SEED } from './bounds.ts';
import { openRunner, type Runner } from './orders.ts';
import { byPriority, prioritiesOf } from './priorities.ts';
import { reportOf } from './report.ts';
import { NAMES } from './scenarios.ts';
import { statesOf } from './verbs.ts';

const ACTORS = 3;
const RUN_MS = runMs({ long: 8, quick: 60 });
const ORDERS_MAX = IS_TIMED ? (RUN_MS / 1_000) * RUNS_PER_SECOND_MAX : 30;

let runner: Runner;
beforeAll(async () => {
  runner = await openRunner(ACTORS);
});
afterAll(() => runner.close());

const verb = fc.constantFrom(...NAMES);
const drawn = fc.record({
  verbs: fc.tuple(verb, verb, verb),
  begin: fc.nat(),
  splitting: fc.subarray([0, 1, 2]),
  priorities: prioritiesOf(ACTORS),
});

type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;

test(
  'P1, P2, P3, P7: random orders of three verbs break no rule',
  async () => {
    let orders = 0;
    const run = withinTime(RUN_MS, async ({ verbs, begin, splitting, priorities }: Drawn) => {
      const states = statesOf(verbs);
      const state = states[begin % states.length];
      if (state === undefined) return;
      const scenario = { state, verbs, splitting: splitting.flatMap((actor) => verbs[actor] ?? []) };
      const run = await runner.of(scenario)(byPriority(priorities));
      orders += 1;
      expect(run.wrong.length > 0 ? reportOf(scenario, run) : '').toBe('');
    });
    await fc.assert(fc.asyncProperty(drawn, run), { numRuns: ORDERS_MAX, ...SEED });
    console.info(`${orders} random orders.`);
    expect(orders).toBeGreaterThan(0);
  },
  RUN_MS + MARGIN_MS,
);
