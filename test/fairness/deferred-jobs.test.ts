import { expect, test } from 'vitest';
import { createDeferredJobs } from '../../workers/execution/deferred-jobs.ts';

const all = () => true;
const entries = (userId: string, count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `${userId}${n}`, userId }));

test('users take turns, users without a free place are skipped, and nothing is queued twice', () => {
  const aside = createDeferredJobs();
  for (const entry of [...entries('a', 4), ...entries('b', 2), ...entries('a', 4), ...entries('c', 1)])
    aside.add(entry);
  expect(aside.size).toBe(7);
  expect(aside.next(3, all).map(({ id }) => id)).toEqual(['a0', 'b0', 'c0']);
  expect(aside.next(2, (userId) => userId !== 'a').map(({ id }) => id)).toEqual(['b1']);
  expect(aside.next(10, all).map(({ id }) => id)).toEqual(['a1', 'a2', 'a3']);
  expect(aside.next(10, all)).toEqual([]);
  expect(aside.size).toBe(0);
});

test('it is bounded, and a flood from one user displaces none of the other users’ jobs', () => {
  const aside = createDeferredJobs(100);
  for (const entry of [...entries('modest', 3), ...entries('greedy', 10_000), ...entries('late', 3)]) aside.add(entry);
  expect(aside.size).toBeLessThanOrEqual(100);
  const left = aside.clear();
  expect(left.filter(({ userId }) => userId !== 'greedy')).toHaveLength(6);
  expect(left.length).toBeGreaterThan(50);
  expect(aside.size).toBe(0);
});

test('among many users with one job each, one makes room for the next', () => {
  const aside = createDeferredJobs(10);
  for (let n = 0; n < 50; n += 1) aside.add({ id: `job${n}`, userId: `user${n}` });
  expect(aside.size).toBe(10);
  expect(aside.next(100, all)).toHaveLength(10);
});
