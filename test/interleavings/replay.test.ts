import { expect, test } from 'vitest';
import { openRunner } from './orders.ts';
import { read, reportOf } from './report.ts';

/** As a failed test prints it; what it leaves open is taken in the order of the actors. */
const { INTERLEAVINGS_ORDER } = process.env;

test.skipIf(INTERLEAVINGS_ORDER === undefined)('the order that was given breaks nothing', async () => {
  const { scenario, keys } = read(INTERLEAVINGS_ORDER ?? '');
  const runner = await openRunner(scenario.verbs.length);
  const run = await runner.of(scenario)((ready) => keys.shift() ?? ready[0]?.key);
  await runner.close();
  console.info(run.order.steps.join('\n'));
  expect(run.wrong.length > 0 ? reportOf(scenario, run) : '').toBe('');
});
