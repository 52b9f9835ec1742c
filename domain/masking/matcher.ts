export type Range = [start: number, end: number];

/**
 * Finds every occurrence of one text, overlapping ones too, and one that began in the text
 * before. It visits each character once (Knuth, Morris, Pratt): users choose secrets, and must not
 * be able to choose one that makes the search slow.
 */
export interface Matcher {
  wanted: string;
  /**
   * Searches from `from` on. The text before ended with the first `begun` characters of `wanted`.
   * Overlapping occurrences form one range.
   */
  scan(text: string, from: number, begun: number): { found: Range[]; matched: number };
}

export function createMatcher(wanted: string): Matcher {
  let borders: Uint32Array | undefined; // made at the first use: most wanted texts never occur
  return {
    wanted,
    scan(text, from, begun) {
      borders ??= bordersOf(wanted);
      const found: Range[] = [];
      let matched = begun;
      for (let at = from; at < text.length; at++) {
        const character = text.charCodeAt(at);
        while (matched > 0 && (matched === wanted.length || wanted.charCodeAt(matched) !== character))
          matched = borders[matched - 1] ?? 0;
        if (wanted.charCodeAt(matched) === character) matched += 1;
        if (matched < wanted.length) continue;
        const start = Math.max(0, at + 1 - wanted.length);
        const last = found.at(-1);
        if (last !== undefined && start <= last[1]) last[1] = at + 1;
        else found.push([start, at + 1]);
      }
      if (matched === wanted.length) matched = borders[matched - 1] ?? 0;
      return { found, matched };
    },
  };
}

/** For each prefix of `text`, the length of the longest shorter prefix that it ends with. */
function bordersOf(text: string): Uint32Array {
  const borders = new Uint32Array(text.length);
  let length = 0;
  for (let at = 1; at < text.length; at++) {
    while (length > 0 && text[at] !== text[length]) length = borders[length - 1] ?? 0;
    if (text[at] === text[length]) length += 1;
    borders[at] = length;
  }
  return borders;
}
