import { expect, test } from 'vitest';
import { compare, readClocks } from './compare.ts';
import { ZONES } from './oracle.ts';

test('500 expressions in 15 zones occur when the local clocks say so, forward and backward', () => {
  expect(ZONES.length).toBeGreaterThanOrEqual(15);
  const start = performance.now();
  compare(readClocks(), 500);
  expect(performance.now() - start).toBeLessThan(60_000);
});
