import { nearest } from '../platform/misspelt.ts';

/** The end of a sentence about a word that is not known: which one may be meant. */
export function meantFor(word: string, known: readonly string[]): string {
  const near = nearest(word, known) ?? known.find((candidate) => candidate.startsWith(word));
  return near === undefined ? '.' : `: did you mean ${near}?`;
}

/** "a, b and c". */
export function listOf(words: readonly string[]): string {
  return words.length === 1 ? String(words[0]) : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
