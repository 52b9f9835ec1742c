import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createBatcher } from '../../platform/async/batcher.ts';

describe('a batcher', () => {
  test('writes items that arrive together as one set, within its bounds, and no more sets at a time than allowed', async () => {
    const sets: number[][] = [];
    let inFlight = 0;
    let most = 0;
    const batcher = createBatcher<number>({
      sizeMax: 3,
      inFlightMax: 1,
      async write(set) {
        inFlight += 1;
        most = Math.max(most, inFlight);
        sets.push(set);
        await turn();
        inFlight -= 1;
      },
    });
    for (let n = 1; n <= 7; n += 1) batcher.add(n);
    await batcher.drained();
    batcher.add(8);
    await batcher.drained();
    expect({ sets, most }).toEqual({ sets: [[1, 2, 3], [4, 5, 6], [7], [8]], most: 1 });
  });
});
