import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isoTime } from '../../domain/iso-time.ts';

test('a time has the text that JavaScript gives it, in any year and beside times of other days', () => {
  const near = fc.integer({ min: -2 * 86_400_000, max: 2 * 86_400_000 }).map((ms) => new Date(ms));
  const edges = ['0000-01-01', '0001-01-01', '1969-12-31', '2024-02-29', '9999-12-31'].flatMap((day) => [
    new Date(`${day}T00:00:00.000Z`),
    new Date(`${day}T23:59:59.999Z`),
  ]);
  const dates = fc.oneof(fc.date({ noInvalidDate: true }), near, fc.constantFrom(...edges));
  fc.assert(
    fc.property(fc.array(dates), (times) => {
      expect(times.map(isoTime)).toEqual(times.map((time) => time.toISOString()));
    }),
  );
  expect(() => isoTime(new Date(Number.NaN))).toThrow(RangeError);
});
