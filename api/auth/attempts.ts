import type { Cache } from '../../platform/cache/cache.ts';
import { failure } from '../errors.ts';

/** Counts one try under `key`. Throws RATE_LIMITED after `points` tries in the window. */
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
