import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import type { Cache } from '../../platform/cache/cache.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { createRedisCache } from '../../platform/cache/redis.ts';
import { requirePart } from '../support/parts.ts';
import { signals } from './signals.ts';

const url = requirePart('redis', 'the cache on a real Redis');
const log = pino({ level: 'silent' });

describe.each([
  { name: 'in process', make: async () => createMemoryCache(), missing: false },
  {
    name: 'on Redis',
    make: () => createRedisCache({ url: url ?? '', prefix: `test-${randomBytes(6).toString('hex')}:`, log }),
    missing: url === undefined,
  },
])('the cache $name', ({ make, missing }) => {
  let cache: Cache;
  afterEach(() => cache?.close());

  test.skipIf(missing)('returns a value until it is deleted', async () => {
    cache = await make();
    await cache.set('k', 'the value', 60);
    expect(await cache.get('k')).toBe('the value');
    await cache.delete('k');
    expect(await cache.get('k')).toBeUndefined();
  });

  test.skipIf(missing)('forgets a value when its time is over', async () => {
    cache = await make();
    await cache.set('k', 'the value', 0.05);
    await expect.poll(() => cache.get('k')).toBeUndefined();
  });

  test.skipIf(missing)('delivers a hint to all listeners of its channel, and to nobody else', async () => {
    cache = await make();
    const got = signals();
    await cache.subscribe('a', (message) => got.add(`first ${message}`));
    await cache.subscribe('a', (message) => got.add(`second ${message}`));
    await cache.subscribe('b', (message) => got.add(`b ${message}`));
    await cache.publish('a', '1');
    await cache.publish('b', '2');
    await got.until((all) => all.length >= 3);
    expect(got.all.toSorted()).toEqual(['b 2', 'first 1', 'second 1']);
  });

  test.skipIf(missing)('delivers nothing after an unsubscribe, and continues for the others', async () => {
    cache = await make();
    const got = signals();
    const leave = await cache.subscribe('a', (message) => got.add(`left ${message}`));
    await cache.subscribe('a', (message) => got.add(`stays ${message}`));
    leave();
    leave();
    await cache.publish('a', '1');
    await got.until((all) => all.includes('stays 1'));
    expect(got.all).toEqual(['stays 1']);
  });

  test.skipIf(missing)('can subscribe to a channel again after its last listener has left', async () => {
    cache = await make();
    const got = signals();
    (await cache.subscribe('a', () => got.add('old')))();
    await cache.subscribe('a', (message) => got.add(message));
    await cache.publish('a', '1');
    await got.until((all) => all.length > 0);
    expect(got.all).toEqual(['1']);
  });

  test.skipIf(missing)(
    'refuses beyond the limit of a window, says when to come again, and counts keys separately',
    async () => {
      cache = await make();
      const answers: number[] = [];
      for (let n = 0; n < 5; n += 1) answers.push(await cache.limit('ann', 3, 60));
      expect(answers.slice(0, 3)).toEqual([0, 0, 0]);
      expect(answers[3]).toBeGreaterThan(0);
      expect(answers[4]).toBeLessThanOrEqual(60);
      expect(await cache.limit('bob', 3, 60)).toBe(0);
      expect(await cache.limit('ann', 4, 60)).toBe(0); // another limit
    },
  );

  test.skipIf(missing)('reports that it is up', async () => {
    cache = await make();
    expect(await cache.isUp()).toBe(true);
    await cache.close();
    expect(await cache.isUp()).toBe(false);
  });
});
