import type { Logger } from 'pino';
import type { Cache } from '../../platform/cache/cache.ts';
import { isOutage } from '../../platform/postgres/outage.ts';
import { rateLimited } from '../errors.ts';

type Count = (key: string, points: number, windowSeconds: number) => Promise<void>;

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
    throw rateLimited(`Too many tries: try again in ${wait} seconds.`, { retryAfterSeconds: wait });
  }
}

/**
 * Runs `attempt`, which counts its tries by `count`. If the database was away, the tries do not
 * count: a person who repeats a try in an outage must not be kept out after it.
 */
export async function uncountedInOutage<T>(
  { cache, log }: { cache: Cache; log: Logger },
  attempt: (count: Count) => Promise<T>,
): Promise<T> {
  const counted: Parameters<Count>[] = [];
  try {
    return await attempt(async (...limit) => {
      await countAttempt({ cache }, ...limit);
      counted.push(limit);
    });
  } catch (error) {
    if (isOutage(error))
      await Promise.all(counted.map((limit) => cache.unlimit(...limit))).catch((failure: unknown) =>
        log.debug({ err: failure }, 'A try in an outage was counted.'),
      );
    throw error;
  }
}
