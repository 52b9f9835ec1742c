import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Semaphore } from '../../platform/async/semaphore.ts';

describe('a semaphore', () => {
  test('admits as many as it has places, and the others in their order', async () => {
    const semaphore = new Semaphore(2);
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    const work = (n: number) => async () => {
      begun.push(n);
      running += 1;
      most = Math.max(most, running);
      await turn();
      running -= 1;
    };
    await Promise.all([1, 2, 3, 4, 5].map((n) => semaphore.run(work(n))));
    expect({ begun, most }).toEqual({ begun: [1, 2, 3, 4, 5], most: 2 });
  });

  test('frees the place of work that fails', async () => {
    const mutex = new Semaphore(1);
    await expect(mutex.run(() => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect(await mutex.run(async () => 'next')).toBe('next');
  });
});
