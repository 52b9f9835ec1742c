import { expect, test } from 'vitest';
import { openStage } from './orders.ts';
import { read, reportOf } from './report.ts';

/** As a failed test prints it; what it leaves open is taken in the order of the actors. */
const { INTERLEAVINGS_ORDER } = process.env;

test.skipIf(INTERLEAVINGS_ORDER === undefined)('the order that was given breaks nothing', async () => {
  const { cast, keys } = read(INTERLEAVINGS_ORDER ?? '');
  const stage = await openStage(cast.verbs.length);
  const run = await stage.of(cast)((ready) => keys.shift() ?? ready[0]?.key);
  await stage.close();
  console.info(run.order.steps.join('\n'));
  expect(run.wrong.length > 0 ? reportOf(cast, run) : '').toBe('');
});
