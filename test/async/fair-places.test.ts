import { describe, expect, test } from 'vitest';
import { FairPlaces } from '../../platform/async/fair-places.ts';

describe('places that users share', () => {
  const waiting = (places: FairPlaces) => {
    const order: string[] = [];
    const take = (key: string, count: number) => {
      const { promise, cancel } = places.acquire(key, count);
      promise.then(
        () => order.push(key),
        () => order.push(`${key} cancelled`),
      );
      return cancel;
    };
    return { order, take };
  };
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

  test('go to users in turns, to none more than its share, and several at once', async () => {
    const { order, take } = waiting(new FairPlaces({ places: 4, perKey: 3 }));
    const first = take('ann', 3);
    take('ann', 1);
    take('ann', 1);
    take('bob', 1);
    take('cem', 3);
    await settled();
    expect(order).toEqual(['ann', 'bob']);
    first();
    first();
    await settled();
    expect(order).toEqual(['ann', 'bob', 'ann']); // the next is cem, and nobody passes
  });

  test('go to the next when one gives up, before its turn or after', async () => {
    const { order, take } = waiting(new FairPlaces({ places: 1, perKey: 1 }));
    const holds = take('ann', 1);
    const gives = take('bob', 1);
    take('cem', 1);
    gives();
    holds();
    await settled();
    expect(order).toEqual(['ann', 'bob cancelled', 'cem']);
  });
});
