import { type IRateLimiterOptions, type RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible';
import type { Cache } from './cache.ts';

/** Implements `limit` of a cache. `make` makes one limiter for each pair of points and window. */
export function createLimits(make: (options: IRateLimiterOptions) => RateLimiterAbstract): Cache['limit'] {
  const limiters = new Map<string, RateLimiterAbstract>();

  return async (key, points, windowSeconds) => {
    const name = `limit:${points}/${windowSeconds}`;
    const limiter = limiters.get(name) ?? make({ keyPrefix: name, points, duration: windowSeconds });
    limiters.set(name, limiter);
    try {
      await limiter.consume(key);
      return 0;
    } catch (refusal) {
      if (refusal instanceof RateLimiterRes) return Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
      throw refusal;
    }
  };
}
