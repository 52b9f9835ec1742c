export type Range = [start: number, end: number];

/**
 * Finds every occurrence of one text, those that overlap too, also one that began in the text before. Knuth, Morris and Pratt's way: one
 * look at each character, whatever is looked for. Secrets are chosen by users, and a search that some of them make slow would be slow
 * for everybody.
 */
export interface Matcher {
  wanted: string;
  /** From `from` on, where the text before ended with the first `begun` characters. Occurrences that overlap come as one range. */
  scan(text: string, from: number, begun: number): { found: Range[]; matched: number };
}

export function createMatcher(wanted: string): Matcher {
  let borders: Uint32Array | undefined; // made when the text is first seen: of most that are looked for it never is
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

/** For each beginning of `text`, the length of the longest shorter one that it ends with. */
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
