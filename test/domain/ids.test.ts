import fc from 'fast-check';
import { v7 } from 'uuid';
import { expect, test } from 'vitest';
import { firstIdAt, isId, NO_ID } from '../../domain/ids.ts';

const LAST_MS = 0xffff_ffff_ffff;

test('the first id at a time is before every id made from then on, and behind every id made before', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: LAST_MS }), (ms) => {
      const first = firstIdAt(new Date(ms));
      expect(first <= v7({ msecs: ms })).toBe(true);
      expect(first > v7({ msecs: ms - 1 })).toBe(true);
    }),
  );
});

test('a time beyond the range of ids still gives a bound: before every id, or behind those of all earlier times', () => {
  for (const early of ['1969-12-31T23:59:59.999Z', '1900-01-01T00:00:00.000Z', '0001-01-01T00:00:00.000Z'])
    expect(firstIdAt(new Date(early))).toBe(NO_ID);
  expect(firstIdAt(new Date(0))).toBe(NO_ID);
  expect(firstIdAt(new Date(-8.64e15))).toBe(NO_ID);
  const last = firstIdAt(new Date(8.64e15));
  expect(last).toBe(firstIdAt(new Date(LAST_MS)));
  expect(last > v7({ msecs: LAST_MS - 1 })).toBe(true);
  expect(last).toHaveLength(NO_ID.length);
  expect(isId(v7({ msecs: LAST_MS }))).toBe(true);
});
