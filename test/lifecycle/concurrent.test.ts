import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withinTime } from '../support/time-limit.ts';
import { drain } from './drain.ts';
import { broken } from './invariants.ts';
import { created, type Operation, operation } from './operations.ts';
import { BOUNDS, type Lifecycle, lifecycle, RUN_MS_MAX, TEST_MS_MAX } from './support.ts';

const CLIENTS = 5;

let real: Lifecycle;
beforeAll(async () => {
  real = await lifecycle({ connections: CLIENTS + 1 });
});
afterAll(() => real.close());

/**
 * Rounds of operations. Each client performs its own one after the other; the clients of a round
 * work at the same time.
 */
const rounds = fc.array(
  fc.array(fc.array(operation, { minLength: 1, maxLength: 8, size: 'max' }), {
    minLength: CLIENTS,
    maxLength: CLIENTS,
  }),
  { minLength: 1, maxLength: 4, size: 'max' },
);

test(
  'P1, P2, P3, P7: several clients at once break no invariant and meet no deadlock, and everything comes to an end',
  async () => {
    const { db } = real;
    const run = withinTime(RUN_MS_MAX, async (all: Operation[][][]) => {
      const world = await real.begin();
      await world.do(created(false, 2));
      await world.do(created(true, 1));
      await world.do({ type: 'claimBuilds' });
      await world.do({ type: 'endBuild', at: 0, status: 'COMPLETED' });
      for (const clients of all) {
        // The first look reads while the clients write.
        const looking = broken(db);
        const working = clients.map(async (operations) => {
          for (const op of operations) await world.do(op);
        });
        // Also if one fails, the others end before the next sequence begins.
        await Promise.allSettled([looking, ...working]);
        await Promise.all(working);
        expect([await looking, await broken(db)]).toEqual([[], []]);
      }
      await drain(world);
      expect(await broken(db)).toEqual([]);
    });
    await fc.assert(fc.asyncProperty(rounds, run), BOUNDS);
  },
  TEST_MS_MAX,
);
