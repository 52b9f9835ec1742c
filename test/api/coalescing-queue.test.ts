import { expect, test } from 'vitest';
import { CoalescingQueue } from '../../api/live/coalescing-queue.ts';

const { signal } = new AbortController();
const row = (version: number) => ({ id: 'a', version });

test('a version of a row that arrives late does not replace a newer one', async () => {
  const queue = new CoalescingQueue<ReturnType<typeof row>>((one, than) => one.version < than.version);
  for (const version of [1, 3, 2]) queue.put('a', row(version));
  expect(await queue.take(signal)).toEqual({ id: 'a', row: row(3) });
  queue.put('a', row(3));
  queue.put('a', undefined); // the row is gone
  expect(await queue.take(signal)).toEqual({ id: 'a', row: undefined });
});
