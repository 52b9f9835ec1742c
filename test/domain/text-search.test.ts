import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { partFinder } from '../../domain/logs/text-search.ts';

/** The result of a regular expression, which uses the same case folding. */
function expected(part: string, text: string, from: number): number {
  const pattern = new RegExp(part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'giu');
  pattern.lastIndex = from;
  return pattern.exec(text)?.index ?? -1;
}

/**
 * Half of a surrogate pair. The text of a log has none, because it was UTF-8, but the search text
 * may.
 */
const HALF = /\p{Surrogate}/u;
/** The second half of a divided pair, which is not a character. */
const LOW_HALF = /^[\udc00-\udfff]/;

describe('a part of a text', () => {
  test('is found where a regular expression that ignores case finds it', () => {
    const few = fc.string({
      unit: fc.constantFrom('a', 'A', 'b', 'ß', 'É', 'é', 'Σ', 'ς', '𐐀', '𐐨', '😀', '\ud83d', '\ude00', '.', '('),
    });
    fc.assert(
      fc.property(few, few, fc.nat(5), (part, text, from) => {
        fc.pre(part.length > 0 && from <= text.length && !HALF.test(text) && !LOW_HALF.test(text.slice(from)));
        expect(partFinder(part)(text)(from)).toBe(expected(part, text, from));
      }),
      { numRuns: 5_000 },
    );
  });

  test('is compared by simple case folding, for every character', () => {
    for (let code = 1; code <= 0x1_ffff; code += 1) {
      const character = String.fromCodePoint(code);
      const cases = new Set([character.toLowerCase(), character.toUpperCase(), character.toUpperCase().toLowerCase()]);
      for (const other of cases) {
        if (other === character || /^[\ud800-\udfff]$/.test(character)) continue;
        expect([character, other, partFinder(character)(other)(0)]).toEqual([
          character,
          other,
          expected(character, other, 0),
        ]);
      }
    }
  });

  test('takes no more time to find if it is longer', () => {
    const text = 'a'.repeat(1_000_000);
    // Like the long ones, it matches the beginning at each character.
    const short = partFinder(`${'a'.repeat(9)}b`)(text);
    for (const part of [`${'a'.repeat(999)}b`, `${'a'.repeat(500)}b${'a'.repeat(499)}`]) {
      const long = partFinder(part)(text);
      const ratios = Array.from({ length: 7 }, () => msOf(long) / msOf(short)).sort((a, b) => a - b);
      // A regular expression would take longer in proportion to the search text.
      expect(ratios[3]).toBeLessThan(5);
    }
  });
});

function msOf(find: (from: number) => number): number {
  const started = performance.now();
  expect(find(0)).toBe(-1);
  return performance.now() - started;
}
