const SHORT_LETTERS = 5;

/**
 * The entry of `known` that `word` is most likely a slip for, or undefined. Two slips make another
 * word, and one in a word of up to five letters (PATH is not PORT). A slip is a letter too many,
 * too few, another one, or two swapped.
 */
export function nearest<T extends string>(word: string, known: readonly T[]): T | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, slips: countSlips(word, candidate) }))
    .sort((a, b) => a.slips - b.slips);
  const best = ranked[0];
  if (best === undefined) return undefined;
  const slipsMax = Math.min(word.length, best.candidate.length) <= SHORT_LETTERS ? 1 : 2;
  return best.slips <= slipsMax ? best.candidate : undefined;
}

/** The distance of Damerau and Levenshtein (optimal string alignment). */
function countSlips(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      const cell = (from: number[], at: number) => from[at] ?? Number.POSITIVE_INFINITY;
      line.push(
        Math.min(
          cell(last, column) + 1,
          cell(line, column - 1) + 1,
          cell(last, column - 1) + (same ? 0 : 1),
          swapped ? cell(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    beforeLast = last;
    last = line;
  }
  return last[b.length] ?? 0;
}
