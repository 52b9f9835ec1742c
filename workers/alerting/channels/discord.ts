import type { AlertMessage, SendOutcome } from '../../../domain/alerts/alert.ts';
import { type AlertContent, contentOf, endEscapedTo, escapedTo } from '../../../domain/alerts/content.ts';
import { defused, safeLink } from './defused.ts';
import { type ChannelContext, outcomeOf } from './outcome.ts';

/**
 * Bounds of an embed: https://docs.discord.com/developers/resources/message, "Embed limits". All
 * its texts together have at most 6,000 characters. With a title of 256, a log of 1,024 and nine
 * facts of some 60, the description may have 3,000 of its 4,096.
 */
const TITLE_LENGTH_MAX = 256;
const DESCRIPTION_LENGTH_MAX = 3_000;
const FACT_LENGTH_MAX = 120;
const LOG_LENGTH_MAX = 1_024;
const FACTS_MAX = 10;
const FENCE = '```';

const COLORS: Record<AlertContent['mood'], number> = { BAD: 0xd13438, GOOD: 0x2e7d32, NEUTRAL: 0x607d8b };

/** Sends a message as one embed to a webhook of Discord. */
export function sendDiscord(
  { url }: { url: string },
  message: AlertMessage,
  context: ChannelContext,
): Promise<SendOutcome> {
  const headers = { 'content-type': 'application/json' };
  // 404 with the code 10015: the webhook is unknown, so it was deleted. 401: its token is wrong.
  // https://docs.discord.com/developers/topics/opcodes-and-status-codes
  return outcomeOf(
    url,
    { headers, body: JSON.stringify(discordBody(message)) },
    context,
    ({ status }) => status === 401 || status === 404,
  );
}

function discordBody(message: AlertMessage) {
  const { title, mood, sentences, facts, logLines, link: given } = contentOf(message);
  const link = safeLink(given);
  return {
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: written(title, TITLE_LENGTH_MAX),
        color: COLORS[mood],
        description: escapedTo(DESCRIPTION_LENGTH_MAX, defused(sentences.map(lineStart).join('\n')), escaped),
        ...(link === undefined ? {} : { url: link }),
        fields: [
          ...facts.slice(0, FACTS_MAX).map(({ name, value }) => {
            return { name: written(name, FACT_LENGTH_MAX), value: written(value, FACT_LENGTH_MAX), inline: true };
          }),
          ...(logLines.length > 0 ? [{ name: 'Last lines', value: logBlock(logLines) }] : []),
        ],
      },
    ],
  };
}

function written(text: string, lengthMax: number): string {
  return escapedTo(lengthMax, defused(lineStart(text)), escaped);
}

/** A list or a heading begins at the start of a line alone. */
function lineStart(text: string): string {
  return /^\s*([-+]|\d+\.)/.test(text) ? `\u200b${text}` : text;
}

/** Markdown, and "<", with which mentions, times and commands begin. */
function escaped(character: string): string {
  if (character === '<') return '<\u200b';
  return /[\\*_~`|>#[\]()]/.test(character) ? `\\${character}` : character;
}

/** Nothing has a meaning within it but its end, which is three backticks. */
function logBlock(lines: readonly string[]): string {
  const text = defused(lines.join('\n')).replaceAll('`', '\u02cb');
  return `${FENCE}\n${endEscapedTo(LOG_LENGTH_MAX - 2 * FENCE.length - 2, text, (character) => character)}\n${FENCE}`;
}
