import type { Cache } from '../../platform/cache/cache.ts';
import { failure } from '../errors.ts';

/** Counts one try under `key`. Throws RATE_LIMITED where there were `points` in the window already. */
export async function countAttempt(
  { cache }: { cache: Cache },
  key: string,
  points: number,
  windowSeconds: number,
): Promise<void> {
  const seconds = await cache.limit(key, points, windowSeconds);
  if (seconds > 0) {
    const wait = Math.ceil(seconds);
    throw failure('RATE_LIMITED', `Too many tries: try again in ${wait} seconds.`, { retryAfterSeconds: wait });
  }
}
