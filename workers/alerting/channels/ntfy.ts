import type { AlertMessage, OpenAlertTarget, SendOutcome } from '../../../domain/alerts/alert.ts';
import { type AlertContent, contentOf, cut } from '../../../domain/alerts/content.ts';
import { byteCount } from '../../../domain/text.ts';
import { defused, safeLink } from './defused.ts';
import { type ChannelContext, outcomeOf } from './outcome.ts';

/** ntfy makes a longer body, from 4,096 bytes on, an attachment: https://docs.ntfy.sh/publish */
const BODY_BYTES_MAX = 4_000;
const TITLE_LENGTH_MAX = 200;

/** 4 is "high", 3 the default. Tags become emoji: https://docs.ntfy.sh/publish/#message-priority */
const MOODS: Record<AlertContent['mood'], { priority: string; tags: string }> = {
  BAD: { priority: '4', tags: 'rotating_light' },
  GOOD: { priority: '3', tags: 'white_check_mark' },
  NEUTRAL: { priority: '3', tags: 'bell' },
};

/** Publishes a message to a topic of an ntfy server. */
export function sendNtfy(
  { url, topic, token }: Extract<OpenAlertTarget, { kind: 'NTFY' }>,
  message: AlertMessage,
  context: ChannelContext,
): Promise<SendOutcome> {
  const content = contentOf(message);
  const link = safeLink(content.link);
  const headers = {
    'content-type': 'text/plain; charset=utf-8',
    title: encoded(cut(defused(content.title), TITLE_LENGTH_MAX)),
    ...MOODS[content.mood],
    ...(link === undefined ? {} : { click: link }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const secrets = token === undefined ? [topic] : [topic, token];
  return outcomeOf(`${url.replace(/\/+$/, '')}/${topic}`, { headers, body: bodyOf(content) }, { ...context, secrets });
}

/** What is cut is the front of the log; the end of the rest if there is no log. */
function bodyOf({ sentences, facts, logLines }: AlertContent): string {
  const head = [...sentences, ...facts.map(({ name, value }) => `${name}: ${value}`)].map(defused).join('\n');
  const log = defused(logLines.join('\n'));
  const left = BODY_BYTES_MAX - byteCount(head) - 2;
  if (log === '' || left < 0) return beginning(head, BODY_BYTES_MAX);
  return byteCount(log) <= left ? `${head}\n\n${log}` : `${head}\n\n${end(log, left)}`;
}

const MARK = '…';

/** The first bytes, up to a whole character. */
function beginning(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return text;
  let at = bytesMax - byteCount(MARK);
  while (isWithinCharacter(bytes[at])) at -= 1;
  return `${bytes.toString('utf8', 0, at)}${MARK}`;
}

/** The last bytes, from a whole character on. */
function end(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  let at = bytes.length - bytesMax + byteCount(MARK);
  while (isWithinCharacter(bytes[at])) at += 1;
  return at >= bytes.length ? '' : `${MARK}${bytes.toString('utf8', at)}`;
}

function isWithinCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/** A word has at most 75 characters (RFC 2047, section 2), of which 12 are its frame. */
const WORD_BYTES_MAX = 45;

/** The value of a header. ntfy decodes RFC 2047: https://docs.ntfy.sh/publish/#message-title */
function encoded(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text) && !text.includes('=?')) return text;
  const words = [''];
  for (const character of text) {
    const longer = `${words.at(-1) ?? ''}${character}`;
    if (byteCount(longer) <= WORD_BYTES_MAX) words[words.length - 1] = longer;
    else words.push(character);
  }
  return words.map((word) => `=?UTF-8?B?${Buffer.from(word).toString('base64')}?=`).join(' ');
}
