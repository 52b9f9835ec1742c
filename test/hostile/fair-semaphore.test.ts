import { describe, expect, test } from 'vitest';
import { FairSemaphore } from '../../api/admission/fair-semaphore.ts';

describe('when all places in the queue for turns are taken', () => {
  const turns = () => new FairSemaphore({ places: 1, perKey: 1, waiting: 4, waitingPerKey: 4 });
  const refused = { extensions: { code: 'RATE_LIMITED' } };

  test('a key without a place gets one of the key that has most', async () => {
    const fair = turns();
    const leave = await fair.acquire('flood');
    const flood = Array.from({ length: 4 }, () => fair.acquire('flood'));
    const last = flood.pop();
    await expect(fair.acquire('flood')).rejects.toMatchObject(refused);
    const honest = fair.acquire('honest');
    await expect(last).rejects.toMatchObject(refused);
    leave();
    (await flood[0])?.();
    (await honest)();
    for (const one of flood.slice(1)) (await one)();
    (await fair.acquire('flood'))(); // all turns and places are free again
  });

  test('a key that would then have as many as any other is refused', async () => {
    const fair = turns();
    await fair.acquire('first');
    for (const key of ['a', 'a', 'b', 'b']) fair.acquire(key).catch(() => undefined);
    expect(fair.isFull('b')).toBe(true);
    expect(fair.isFull('c')).toBe(false);
    // Each of a and b loses one of its two places.
    for (const key of ['c', 'd']) fair.acquire(key).catch(() => undefined);
    await expect(fair.acquire('e')).rejects.toMatchObject(refused);
  });
});
