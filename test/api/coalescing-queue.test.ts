import { expect, test } from 'vitest';
import { CoalescingQueue } from '../../api/live/coalescing-queue.ts';

const { signal } = new AbortController();
const row = (version: number) => ({ id: 'a', version });

test('more rows than a subscriber may leave unread end its stream with a sentence', async () => {
  const queue = new CoalescingQueue<{ id: string }>(undefined, 3);
  for (const id of ['a', 'b', 'c', 'a']) queue.put(id, { id });
  expect(await queue.take(signal)).toEqual({ id: 'a', row: { id: 'a' } });
  for (const id of ['d', 'e']) queue.put(id, { id });
  await expect(queue.take(signal)).rejects.toThrow('More than 3 changed rows');
});

test('a version of a row that arrives late does not replace a newer one', async () => {
  const queue = new CoalescingQueue<ReturnType<typeof row>>((one, than) => one.version < than.version);
  for (const version of [1, 3, 2]) queue.put('a', row(version));
  expect(await queue.take(signal)).toEqual({ id: 'a', row: row(3) });
  queue.put('a', row(3));
  queue.put('a', undefined); // the row is gone
  expect(await queue.take(signal)).toEqual({ id: 'a', row: undefined });
});
