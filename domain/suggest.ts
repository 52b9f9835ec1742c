/**
 * How many slips may lie between `word` and `candidate`. A slip is an extra letter, a missing
 * letter, a wrong letter, or two swapped letters.
 */
export type SlipsMax = (word: string, candidate: string) => number;

/** For words of sentences: a third of the word. */
const THIRD: SlipsMax = (word) => Math.max(1, Math.floor(word.length / 3));

/** For names that must not be taken for another: PATH is not PORT. */
export const FEW_SLIPS: SlipsMax = (word, candidate) =>
  Math.min(word.length, candidate.length) <= SHORT_LENGTH_MAX ? 1 : 2;

const SHORT_LENGTH_MAX = 5;
const WORD_LENGTH_MAX = 100; // counting slips is quadratic in it

/** The one of `known` that `word` probably means, or undefined when none is near. */
export function nearest<T extends string>(word: string, known: readonly T[], slipsMax = THIRD): T | undefined {
  if (word.length > WORD_LENGTH_MAX) return undefined;
  const simple = simplified(word);
  let best: { candidate: T; slips: number } | undefined;
  for (const candidate of known) {
    const other = simplified(candidate);
    // Each letter that one has more than the other is a slip.
    if (Math.abs(simple.length - other.length) > slipsMax(word, candidate)) continue;
    const slips = countSlips(simple, other);
    if (slips < (best?.slips ?? Number.POSITIVE_INFINITY)) best = { candidate, slips };
  }
  return best && best.slips <= slipsMax(word, best.candidate) ? best.candidate : undefined;
}

/** The text ' Did you mean "x"?', or nothing. It follows a sentence. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? '' : ` Did you mean "${near}"?`;
}

/**
 * The text ': did you mean x?', or a full stop. It ends a sentence about a word of the command
 * line.
 */
export function meantFor(word: string, known: readonly string[]): string {
  const near = nearest(word, known, FEW_SLIPS) ?? known.find((candidate) => candidate.startsWith(word));
  return near === undefined ? '.' : `: did you mean ${near}?`;
}

/** Case and separators make no difference: workingDir is near working_dir. */
function simplified(word: string): string {
  return word.toLowerCase().replaceAll(/[_-]/g, '');
}

/**
 * The distance of Damerau and Levenshtein (optimal string alignment), row by row. The libraries for
 * it count two swapped letters, the most common typing slip, as two slips.
 */
function countSlips(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      line.push(
        Math.min(
          at(last, column) + 1,
          at(line, column - 1) + 1,
          at(last, column - 1) + (isSame ? 0 : 1),
          isSwapped ? at(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    beforeLast = last;
    last = line;
  }
  return at(last, b.length);
}

function at(line: readonly number[], column: number): number {
  return line[column] ?? Number.POSITIVE_INFINITY;
}
