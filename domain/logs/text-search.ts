/** Returns where the searched part begins, at `from` or later, or -1 when it does not occur. */
export type FindPart = (from: number) => number;

/**
 * Searches texts for `part`. Upper and lower case are equal by Unicode's simple case folding. It
 * visits each character of a text once, whatever the part is (Knuth, Morris, Pratt). A regular
 * expression is faster on usual texts, but starts again at each character: 999 times "a" before a
 * "b", in a text of nothing but "a", blocked the process for 0.9 s per chunk.
 */
export function partFinder(part: string): (text: string) => FindPart {
  const wanted = codesOf(foldPairs(part));
  const shorter = shorterMatches(wanted);
  // Half a surrogate pair, which no text of a log has.
  if (/\p{Surrogate}/u.test(part)) return () => () => -1;
  return (given) => {
    const text = foldPairs(given);
    return (from) => {
      let matched = 0;
      for (let at = from; at < text.length; at += 1) {
        if (matched === 0) {
          at = nextOf(wanted[0], text, at); // skips nearly all of a text
          if (at === text.length) return -1;
        }
        const code = FOLDED[text.charCodeAt(at)];
        while (matched > 0 && wanted[matched] !== code) matched = shorter[matched - 1] ?? 0;
        if (wanted[matched] === code) matched += 1;
        if (matched === wanted.length) return at - matched + 1;
      }
      return -1;
    };
  };
}

function nextOf(code: number | undefined, text: string, from: number): number {
  let at = from;
  while (at < text.length && FOLDED[text.charCodeAt(at)] !== code) at += 1;
  return at;
}

/**
 * For each prefix of `wanted`, the longest shorter prefix that it ends with: what stays matched
 * after a mismatch.
 */
function shorterMatches(wanted: Uint16Array): Uint16Array {
  const shorter = new Uint16Array(wanted.length);
  for (let at = 1, matched = 0; at < wanted.length; at += 1) {
    while (matched > 0 && wanted[matched] !== wanted[at]) matched = shorter[matched - 1] ?? 0;
    if (wanted[matched] === wanted[at]) matched += 1;
    shorter[at] = matched;
  }
  return shorter;
}

function codesOf(text: string): Uint16Array {
  return Uint16Array.from({ length: text.length }, (_, at) => FOLDED[text.charCodeAt(at)] ?? 0);
}

/** For each UTF-16 unit, the code that stands for it in all its cases. */
const FOLDED = Uint16Array.from({ length: 0x1_0000 }, (_, code) => {
  const character = String.fromCharCode(code);
  const lower = [character.toUpperCase().toLowerCase(), character.toLowerCase()].find(({ length }) => length === 1);
  // The engine of regular expressions knows exceptions such as the dotless i.
  const isSame = lower !== undefined && /^(.)\1$/iu.test(character + lower);
  return isSame ? lower.charCodeAt(0) : code;
});

/** Folds characters of two units. Their scripts are rare, and no emoji is among them. */
function foldPairs(text: string): string {
  return /[\ud801-\ud83a]/.test(text) ? text.replace(/[\u{10400}-\u{1e943}]/gu, (pair) => pair.toLowerCase()) : text;
}
