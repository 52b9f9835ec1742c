// With the flag `u`, a whole pair is one character and does not match.
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Why `text` cannot be stored, or undefined. PostgreSQL takes no NUL, and half a surrogate pair has
 * no UTF-8.
 */
export function textProblem(text: string): string | undefined {
  if (text.includes('\0')) return 'must not contain the character NUL (U+0000)';
  if (LONE_SURROGATE.test(text)) return 'must be valid Unicode: it contains half of a surrogate pair';
  return undefined;
}

/**
 * Whether nothing of `text` can be seen: it has only spaces, controls, characters of no width, and
 * fillers that are drawn as nothing.
 */
export function isBlank(text: string): boolean {
  return INVISIBLE.test(text);
}

/** Braille's empty pattern (U+2800) is a symbol by its category, and has no dots. */
const INVISIBLE = /^[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]*$/u;

/** The characters (code points) in `text`: what PostgreSQL's char_length counts. */
export function characterCount(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export function byteCount(text: string): number {
  return Buffer.byteLength(text);
}
