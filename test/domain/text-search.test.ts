import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { partFinder } from '../../domain/logs/text-search.ts';

/** What a regular expression says, whose folding is the same. */
function expected(part: string, text: string, from: number): number {
  const pattern = new RegExp(part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'giu');
  pattern.lastIndex = from;
  return pattern.exec(text)?.index ?? -1;
}

/** Texts of a log have none: they were UTF-8. What is looked for may. */
const HALF = /\p{Surrogate}/u;
/** A pair that is cut in the middle is no character. */
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

  test('is compared by simple case folding, for every character that there is', () => {
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

  test('takes no longer to look for where it is longer', () => {
    const text = 'a'.repeat(1_000_000);
    // Begun at each character as the long ones are.
    const short = partFinder(`${'a'.repeat(9)}b`)(text);
    for (const part of [`${'a'.repeat(999)}b`, `${'a'.repeat(500)}b${'a'.repeat(499)}`]) {
      const long = partFinder(part)(text);
      const ratios = Array.from({ length: 7 }, () => msOf(long) / msOf(short)).sort((a, b) => a - b);
      expect(ratios[3]).toBeLessThan(5); // a regular expression: as much longer as the part is
    }
  });
});

function msOf(find: (from: number) => number): number {
  const started = performance.now();
  expect(find(0)).toBe(-1);
  return performance.now() - started;
}
