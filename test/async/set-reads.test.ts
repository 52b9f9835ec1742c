import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { setReads } from '../../platform/async/set-reads.ts';

test('reads what is asked meanwhile in one set, after its questions', async () => {
  const reads: string[][] = [];
  const answers: (() => void)[] = [];
  const load = setReads<string>(async (keys) => {
    reads.push(keys);
    await new Promise<void>((resolve) => answers.push(resolve));
    return (key) => `${key}!`;
  });
  const given: string[] = [];
  const ask = (key: string) => load(key).then((value) => given.push(value));
  void ask('a');
  await turn();
  for (const key of ['b', 'd']) void ask(key);
  await turn();
  expect(reads).toEqual([['a']]);
  answers[0]?.();
  await expect.poll(() => reads).toEqual([['a'], ['b', 'd']]);
  for (const key of ['c', 'a', 'c']) void ask(key);
  // The one before is stuck.
  await expect.poll(() => reads).toEqual([['a'], ['b', 'd'], ['c', 'a']]);
  void ask('e');
  answers[2]?.();
  await expect.poll(() => reads).toEqual([['a'], ['b', 'd'], ['c', 'a'], ['e']]);
  expect(given).toEqual(['a!', 'c!', 'a!', 'c!']);
});

test('fails the questions of the set that fails, and no others', async () => {
  let fails = true;
  const load = setReads<number>(async () => {
    if (fails) throw new Error('away');
    return () => 1;
  });
  await expect(Promise.all([load('a'), load('b')])).rejects.toThrow('away');
  fails = false;
  expect(await load('a')).toBe(1);
});
