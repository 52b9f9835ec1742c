import type { Mask } from '../../../domain/masking/mask.ts';

/**
 * How much of an endpoint's text is kept for a message: more than it shows, as masking comes first.
 */
export const KEPT_MAX = 4 * 1024;
const SHOWN_CHARACTERS_MAX = 200;
/** A control character becomes six, and a message has room for 1,000. */
const QUOTED_LENGTH_MAX = 400;

/**
 * The beginning of an endpoint's text, quoted. Masks before it cuts, because a part of a secret
 * would not be recognised. The text itself may have been cut, by us or by the endpoint.
 */
export function quoted(mask: Mask | undefined, text: string): string {
  const masked = mask?.cutText(text) ?? text;
  let shown = '';
  let length = 0;
  for (const character of [...masked].slice(0, SHOWN_CHARACTERS_MAX)) {
    length += JSON.stringify(character).length - 2;
    if (length > QUOTED_LENGTH_MAX) break;
    shown += character;
  }
  return JSON.stringify(shown);
}
