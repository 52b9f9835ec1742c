import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Cache } from '../../platform/cache/cache.ts';
import { createRedisCache } from '../../platform/cache/redis.ts';
import { requirePart } from '../support/parts.ts';
import { proxyTo, type TestProxy } from '../support/proxy.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { signals } from './signals.ts';

const url = requirePart('redis', 'the cache in an outage of Redis');

describe.skipIf(url === undefined)('the cache while Redis is away', () => {
  let proxy: TestProxy;
  let cache: Cache;
  let lines: string[];

  beforeEach(async () => {
    const real = new URL(url ?? '');
    proxy = await proxyTo(real.hostname, Number(real.port || 6379));
    lines = [];
  });
  afterEach(async () => {
    await cache?.close();
    await proxy.close();
  });

  async function open(): Promise<Cache> {
    const through = new URL(url ?? '');
    through.host = `127.0.0.1:${proxy.port}`;
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
    cache = await createRedisCache({ url: through.href, prefix: `test-${randomBytes(6).toString('hex')}:`, log });
    return cache;
  }

  test('rejects in less than a second, whether the connection is cut or frozen', async () => {
    await open();
    await cache.set('k', 'v', 60);
    for (const away of [proxy.cut, proxy.freeze]) {
      away();
      const passedMs = stopwatch();
      await expect(cache.get('k')).rejects.toThrow();
      await cache.publish('channel', 'a hint that is lost');
      expect(await cache.isUp()).toBe(false);
      expect(passedMs()).toBeLessThan(3_000); // three commands in sequence
    }
  });

  test('counts limits on its own', async () => {
    await open();
    proxy.cut();
    await expect.poll(() => cache.isUp()).toBe(false);
    expect(await cache.limit('ann', 1, 60)).toBe(0);
    expect(await cache.limit('ann', 1, 60)).toBeGreaterThan(0);
  });

  test('listens again when Redis is back, after it has reported the gap', async () => {
    await open();
    const got = signals();
    await cache.subscribe('channel', got.add, () => got.add('gap'));
    for (const away of [proxy.cut, proxy.freeze]) {
      away();
      await expect.poll(() => cache.isUp()).toBe(false);
      got.all.length = 0;
      proxy.restore();
      await got.until((all) => all.includes('gap'));
      await expect.poll(() => cache.isUp()).toBe(true);
      await cache.publish('channel', 'hint');
      await got.until((all) => all.includes('hint'));
    }
  });

  test('starts, subscribes, and receives messages once Redis is there', async () => {
    proxy.cut();
    await open();
    const got = signals();
    await cache.subscribe('channel', got.add, () => got.add('gap'));
    await expect(cache.get('k')).rejects.toThrow();
    proxy.restore();
    await got.until((all) => all.includes('gap'));
    await expect.poll(() => cache.isUp()).toBe(true);
    await cache.publish('channel', 'hint');
    await got.until((all) => all.includes('hint'));
  });

  test('says that Redis does not have the database of the URL, and goes on', async () => {
    const through = new URL(url ?? '');
    through.pathname = '/9999';
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
    cache = await createRedisCache({ url: through.href, prefix: `test-${randomBytes(6).toString('hex')}:`, log });
    await cache.set('k', 'v', 60);
    expect(await cache.get('k')).toBe('v');
    expect(lines).toEqual([expect.stringContaining('does not have the database at the end of REDIS_URL')]);
  });

  test('logs one line for an outage and one for its end', async () => {
    await open();
    proxy.cut();
    for (let n = 0; n < 20; n += 1) await cache.get('k').catch(() => undefined);
    proxy.restore();
    await expect.poll(() => lines.length).toBeGreaterThanOrEqual(2);
    await cache.set('k', 'v', 60);
    expect(lines).toEqual([expect.stringContaining('Redis is away'), 'Redis is back.']);
  });
});
