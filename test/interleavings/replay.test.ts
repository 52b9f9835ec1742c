import { expect, test } from 'vitest';
import { openRunner } from './orders.ts';
import { read, reportOf } from './report.ts';

/**
 * An order as a failed test prints it. Steps that it leaves open are taken in the order of the
 * actors.
 */
const { INTERLEAVINGS_ORDER } = process.env;

test.skipIf(INTERLEAVINGS_ORDER === undefined)('the given order breaks no rule', async () => {
  const { scenario, keys } = read(INTERLEAVINGS_ORDER ?? '');
  const runner = await openRunner(scenario.verbs.length);
  const run = await runner.of(scenario)((ready) => keys.shift() ?? ready[0]?.key);
  await runner.close();
  console.info(run.order.steps.join('\n'));
  expect(run.wrong.length > 0 ? reportOf(scenario, run) : '').toBe('');
});
