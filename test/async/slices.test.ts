import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inSlices } from '../../platform/async/slices.ts';

function busy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test('others have their turn between computations, which keep their order', async () => {
  const done: number[] = [];
  let turns = 0;
  let isOver = false;
  const others = (async () => {
    for (; !isOver; turns += 1) await setImmediate();
  })();
  const all = Array.from({ length: 12 }, (_, n) =>
    inSlices(() => {
      busy(10);
      return done.push(n);
    }),
  );
  expect(await Promise.all(all)).toEqual(Array.from({ length: 12 }, (_, n) => n + 1));
  isOver = true;
  await others;
  expect(turns).toBeGreaterThanOrEqual(5); // 120 ms, each 20
});

test('a computation that fails is the error of its caller alone', async () => {
  const fails = inSlices(() => {
    throw new Error('it is mine');
  });
  const [failed, other] = await Promise.allSettled([fails, inSlices(() => 1)]);
  expect(failed).toMatchObject({ status: 'rejected', reason: new Error('it is mine') });
  expect(other).toEqual({ status: 'fulfilled', value: 1 });
});
