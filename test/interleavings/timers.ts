import { setImmediate as soon } from 'node:timers';
import { promisify } from 'node:util';

/**
 * Replaces `node:timers/promises` if a test gives the code under test a clock. It uses the global
 * timers, which the clock replaces.
 */
export function setTimeout<T>(
  ms: number,
  value?: T,
  { signal }: { signal?: AbortSignal } = {},
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = globalThis.setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve(value);
    }, ms);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

export const setImmediate = promisify(soon);
