import { randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { rateLimited } from '../errors.ts';

export interface Passwords {
  hash(password: string): Promise<string>;
  /**
   * Whether `password` matches the hash `stored`. Without a hash it says no after the same time.
   */
  matches(stored: string | undefined, password: string): Promise<boolean>;
}

/**
 * Argon2id with OWASP's first choice of parameters. Few run at a time, because each takes 19 MiB
 * and a core for about 30 ms.
 */
export function createPasswords(): Passwords {
  const slot = slots(CONCURRENT_MAX, WAITING_MAX);
  const nobodys = hash(randomBytes(16), PARAMETERS);
  nobodys.catch(() => undefined); // a failure is thrown where it is awaited
  return {
    hash: (password) => slot(() => hash(password, PARAMETERS)),
    matches: (stored, password) =>
      slot(async () => {
        const right = await verify(stored ?? (await nobodys), password);
        return right && stored !== undefined;
      }),
  };
}

// Argon2id is the library's default.
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
const CONCURRENT_MAX = 2;
const WAITING_MAX = 64;

/** Runs at most `concurrent` at once. Throws RATE_LIMITED when `waiting` are already waiting. */
function slots(concurrent: number, waiting: number): <T>(run: () => Promise<T>) => Promise<T> {
  let running = 0;
  const queue: (() => void)[] = [];
  return async (run) => {
    if (running >= concurrent) {
      if (queue.length >= waiting)
        throw rateLimited('Too many people are signing in at once: try again in a moment.', {});
      // The place is passed on, so `running` stays.
      await new Promise<void>((resolve) => queue.push(resolve));
    } else running += 1;
    try {
      return await run();
    } finally {
      const next = queue.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
