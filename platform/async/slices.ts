import { setImmediate } from 'node:timers/promises';

/** For how long computations follow one another before others have their turn. */
const SLICE_MS = 20;

let last: Promise<unknown> = Promise.resolve();
let begunMs = 0;

/**
 * Computes after the computations that were given before. Others have their turn in between: any
 * number of them hold the event loop no longer than SLICE_MS and the longest one.
 */
export function inSlices<T>(compute: () => T): Promise<T> {
  const result = last.then(async () => {
    if (performance.now() - begunMs >= SLICE_MS) {
      await setImmediate();
      begunMs = performance.now();
    }
    return compute();
  });
  last = result.catch(() => undefined); // its caller handles the error
  return result;
}
