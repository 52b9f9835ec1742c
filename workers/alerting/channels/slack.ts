import type { AlertMessage, SendOutcome } from '../../../domain/alerts/alert.ts';
import { contentOf, cut, endEscapedTo, escapedTo } from '../../../domain/alerts/content.ts';
import type { HttpAnswer } from '../http.ts';
import { defused, safeLink } from './defused.ts';
import { type ChannelContext, outcomeOf } from './outcome.ts';

/** Bounds of Block Kit: https://docs.slack.dev/reference/block-kit/blocks, header and section. */
const HEADER_LENGTH_MAX = 150;
const SECTION_LENGTH_MAX = 3_000;
const FIELD_LENGTH_MAX = 2_000;
const FIELDS_MAX = 10;
/** What shows the log around its text. */
const FENCE = '```';

/**
 * Sends a message to an incoming webhook of Slack, or of a chat that takes its format: those read
 * `text` alone, so it says everything but the log.
 */
export function sendSlack(
  { url }: { url: string },
  message: AlertMessage,
  context: ChannelContext,
): Promise<SendOutcome> {
  const headers = { 'content-type': 'application/json' };
  return outcomeOf(url, { headers, body: JSON.stringify(slackBody(message)) }, context, isDead);
}

/**
 * The hook was removed, or its workspace or channel takes nothing any more:
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, "Handling errors", has
 * 403 (action_prohibited), 404 (channel_not_found, no_service) and invalid_token.
 */
function isDead({ status, text }: HttpAnswer): boolean {
  return status === 403 || status === 404 || (status === 400 && /\binvalid_token\b/.test(text));
}

function slackBody(message: AlertMessage) {
  const { title, sentences, facts, logLines, link: given } = contentOf(message);
  const link = safeLink(given);
  const fields = facts.slice(0, FIELDS_MAX).map(({ name, value }) => plain(`${name}\n${value}`, FIELD_LENGTH_MAX));
  return {
    text: escapedTo(SECTION_LENGTH_MAX, defused([title, ...sentences].join('\n')), escaped),
    mrkdwn: false,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'header', text: plain(title, HEADER_LENGTH_MAX) },
      ...sections(sentences).map((text) => ({ type: 'section', text: plain(text, SECTION_LENGTH_MAX) })),
      ...(fields.length > 0 ? [{ type: 'section', fields }] : []),
      ...(logLines.length > 0
        ? [{ type: 'section', text: { type: 'mrkdwn', text: logBlock(logLines), verbatim: true } }]
        : []),
      ...(link === undefined
        ? []
        : [
            {
              type: 'section',
              text: { type: 'mrkdwn', text: `<${link.replaceAll('&', '&amp;')}|Open in Chronoverse>` },
            },
          ]),
    ],
  };
}

/** Slack reads no markup in it. */
function plain(text: string, lengthMax: number) {
  return { type: 'plain_text', text: escapedTo(lengthMax, defused(text), escaped), emoji: false };
}

/** Whole sentences together, as many as a section takes when each character becomes five. */
function sections(sentences: readonly string[]): string[] {
  const texts: string[] = [];
  for (const sentence of sentences.map((one) => cut(one, SECTION_LENGTH_MAX))) {
    const longer = `${texts.at(-1) ?? ''}\n${sentence}`;
    if (texts.length > 0 && escapedLength(longer) <= SECTION_LENGTH_MAX) texts[texts.length - 1] = longer;
    else texts.push(sentence);
  }
  return texts;
}

function escapedLength(text: string): number {
  return Array.from(defused(text), escaped).join('').length;
}

function logBlock(lines: readonly string[]): string {
  // A backtick in it would end the block.
  const text = defused(lines.join('\n')).replaceAll('`', '\u02cb');
  return `${FENCE}\n${endEscapedTo(SECTION_LENGTH_MAX - 2 * FENCE.length - 2, text, escaped)}\n${FENCE}`;
}

/** The characters that control Slack's format: mentions and links begin with "<". */
function escaped(character: string): string {
  return ESCAPES[character] ?? character;
}

const ESCAPES: Partial<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
