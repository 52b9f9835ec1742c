import { readUrl } from '../../../domain/network/read-url.ts';

/** Of no width: it parts what a chat or a mail program would take for one thing. */
const APART = '\u200b';

/**
 * The text of a user that reads as before, and in which no program finds a link or a mention. For
 * each character a chat gives a meaning there is one more that a person does not see.
 */
export function defused(text: string): string {
  return text
    .replace(/:(?=\/\/)/g, `:${APART}`)
    .replace(/\bwww\./gi, (found) => `${found.slice(0, -1)}${APART}.`)
    .replace(/\b(mailto|tel|javascript|data|slack|discord|tg):/gi, (found) => `${found}${APART}`)
    .replaceAll('@', `@${APART}`)
    .replace(/\](?=[([])/g, `]${APART}`);
}

/** A link of ours as a URL has it: nothing in it ends the place where it stands. */
export function safeLink(link: string | undefined): string | undefined {
  const url = link === undefined ? undefined : readUrl(link);
  if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined;
  return url.href.replace(/[|<>()[\]"'`\\^{}\s]/g, (character) =>
    encodeURIComponent(character).replace(/[()']/g, coded),
  );
}

function coded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
