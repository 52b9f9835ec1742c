import type { Mask } from '../../domain/masking/mask.ts';

/** How much of an error or an answer is kept. */
export const TEXT_LENGTH_MAX = 500;
const LOOKED_AT_MAX = 8 * TEXT_LENGTH_MAX;

/**
 * What another side says, as one line for a person: masked, without control characters, at most 500
 * characters. Masks before it cuts, because a part of a secret would not be recognised.
 */
export function shortLine(mask: Pick<Mask, 'text' | 'cutText'> | undefined, text: string): string {
  const beginning = text.slice(0, LOOKED_AT_MAX);
  const masked = (beginning === text ? mask?.text(beginning) : mask?.cutText(beginning)) ?? beginning;
  // Cs: a surrogate without its other half. Cf: what turns the direction of a text, among others.
  const line = masked
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .replace(/[\p{Cs}\p{Cf}]/gu, '\u{fffd}')
    .trim();
  if (line.length <= TEXT_LENGTH_MAX) return line;
  return `${line.slice(0, TEXT_LENGTH_MAX - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
