import { type IRateLimiterOptions, type RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible';
import type { Cache } from './cache.ts';

/** The limits of a cache. `make` makes one limiter for each pair of points and window. */
export function createLimits(
  make: (options: IRateLimiterOptions) => RateLimiterAbstract,
): Pick<Cache, 'limit' | 'unlimit'> {
  const limiters = new Map<string, RateLimiterAbstract>();

  function limiterOf(points: number, windowSeconds: number): RateLimiterAbstract {
    const name = `limit:${points}/${windowSeconds}`;
    const limiter = limiters.get(name) ?? make({ keyPrefix: name, points, duration: windowSeconds });
    limiters.set(name, limiter);
    return limiter;
  }

  return {
    async limit(key, points, windowSeconds) {
      try {
        await limiterOf(points, windowSeconds).consume(key);
        return 0;
      } catch (refusal) {
        if (refusal instanceof RateLimiterRes) return Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
        throw refusal;
      }
    },

    async unlimit(key, points, windowSeconds) {
      await limiterOf(points, windowSeconds).reward(key);
    },
  };
}
