import { describe, expect, test } from 'vitest';
import type { Alert, AlertMessage } from '../../domain/alerts/alert.ts';
import { digestOf, HOSTILE, messageOf, type Received, sendOnce, status, stub } from './messages.ts';

const FULL: Partial<Alert> = {
  reason: '<&>"`😀*_'.repeat(1_000),
  workflow: { id: 'w', name: '&😀'.repeat(127) },
  logLines: Array.from({ length: 10 }, () => `${'<`&'.repeat(60)}😀`),
};
const hostile = () =>
  messageOf({ reason: HOSTILE, workflow: { id: 'w', name: HOSTILE }, logLines: [HOSTILE, '``` @here'] });

/** Half of a surrogate pair. */
const LONE = /\p{Cs}/u;

/** What a server receives for one message. */
async function received(
  kind: 'SLACK' | 'DISCORD' | 'NTFY',
  message: AlertMessage,
  changes: { token?: string; path?: string } = {},
): Promise<Received> {
  const server = await stub();
  const url = `${server.url}${changes.path ?? '/'}`;
  const target = kind === 'NTFY' ? { kind, url, topic: 'backups', token: changes.token } : { kind, url };
  expect(await sendOnce(target, message)).toMatchObject({ outcome: 'DELIVERED' });
  const [one] = server.received;
  if (one === undefined) throw new Error('Nothing came.');
  return one;
}

/** Every text in a JSON document. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

describe('a message to Slack', () => {
  test('has a text, a header, sections, the log, and a link', async () => {
    const body = JSON.parse((await received('SLACK', messageOf())).body);
    expect(body.text).toBe('backup is failing\nThe container exited with code 1.');
    expect(body.blocks.map(({ type }: { type: string }) => type)).toEqual([
      ...['header', 'section', 'section', 'section', 'section'],
    ]);
    expect(body.blocks[3].text.text).toBe('```\ncopying\ndisk is full\n```');
    expect(body.blocks[4].text.text).toBe('<https://chronoverse.example.com/workflows/1|Open in Chronoverse>');
  });

  test('mentions nobody, links nowhere, and keeps its markup, whatever a user writes', async () => {
    const body = JSON.parse((await received('SLACK', hostile())).body);
    const own = '<https://chronoverse.example.com/workflows/1|Open in Chronoverse>';
    const texts = textsIn(body).filter((text) => text !== own);
    for (const text of texts) {
      expect(text).not.toMatch(/[<>]/);
      expect(text).not.toMatch(/@\w/);
      expect(text).not.toContain('://');
      expect(text).not.toMatch(/[\r\u202e]/);
    }
    expect(texts.join('\n')).toContain('&lt;!channel&gt;');
    const log = texts.find((text) => text.startsWith('```')) ?? '';
    expect(log.match(/`/g)).toHaveLength(6);
  });

  test('keeps within the bounds of its blocks', async () => {
    for (const message of [messageOf(FULL), digestOf(1_000, 20, FULL)]) {
      const { blocks, text } = JSON.parse((await received('SLACK', message)).body);
      expect(text.length).toBeLessThanOrEqual(3_000);
      expect(blocks.length).toBeLessThanOrEqual(50);
      for (const block of blocks) {
        if (block.type === 'header') expect(block.text.text.length).toBeLessThanOrEqual(150);
        for (const field of block.fields ?? []) expect(field.text.length).toBeLessThanOrEqual(2_000);
        if (block.text === undefined) continue;
        expect(block.text.text.length).toBeLessThanOrEqual(3_000);
        expect(block.text.text).not.toMatch(/&(?!amp;|lt;|gt;)/); // no half of an entity
        expect(block.text.text).not.toMatch(LONE);
      }
    }
  });

  test.each([
    [403, 'action_prohibited', 'DEAD'],
    [404, 'no_service', 'DEAD'],
    [410, 'channel_is_archived', 'DEAD'],
    [400, 'invalid_token', 'DEAD'],
    [400, 'invalid_payload', 'LATER'],
    [401, '', 'LATER'],
    [500, 'rollup_error', 'LATER'],
    [429, '', 'BUSY'],
  ])('that is answered with %i %s is %s', async (code, body, verdict) => {
    const { url } = await stub(status(code, body, { 'retry-after': '30' }));
    const outcome = await sendOnce({ kind: 'SLACK', url: `${url}/services/T0/B0/hiddenhidden` });
    expect(outcome).toMatchObject({ status: code, verdict, error: expect.stringContaining(body) });
    expect(JSON.stringify(outcome)).not.toContain('hidden');
  });
});

describe('a message to Discord', () => {
  test('is one embed that mentions nobody', async () => {
    const body = JSON.parse((await received('DISCORD', messageOf())).body);
    expect(body.allowed_mentions).toEqual({ parse: [] });
    expect(body.embeds).toMatchObject([
      { title: 'backup is failing', description: 'The container exited with code 1.', url: expect.any(String) },
    ]);
    expect(body.embeds[0].fields.at(-1)).toEqual({ name: 'Last lines', value: '```\ncopying\ndisk is full\n```' });
  });

  test('has no mention, link or markup of a user', async () => {
    const [embed] = JSON.parse((await received('DISCORD', hostile())).body).embeds;
    const { url, ...own } = embed;
    expect(url).toBe('https://chronoverse.example.com/workflows/1');
    const log = own.fields.at(-1).value;
    for (const text of textsIn(own)) {
      expect(text).not.toMatch(/@\w/);
      if (text !== log) expect(text).not.toMatch(/<[!@#:/\w]/);
      expect(text).not.toContain('://');
    }
    for (const text of [own.title, own.description]) {
      expect(text).not.toMatch(/(?<!\\)[*_~`|[\]()]/);
    }
    expect(log.match(/`/g)).toHaveLength(6);
  });

  test('keeps within the bounds of an embed', async () => {
    for (const message of [messageOf(FULL), digestOf(1_000, 20, FULL)]) {
      const [embed] = JSON.parse((await received('DISCORD', message)).body).embeds;
      expect(embed.title.length).toBeLessThanOrEqual(256);
      expect(embed.description.length).toBeLessThanOrEqual(4_096);
      expect(embed.fields.length).toBeLessThanOrEqual(25);
      for (const { name, value } of embed.fields) {
        expect(name.length).toBeLessThanOrEqual(256);
        expect(value.length).toBeLessThanOrEqual(1_024);
      }
      const { url: _, color: __, ...texts } = embed;
      expect(textsIn(texts).join('').length).toBeLessThanOrEqual(6_000);
      for (const text of textsIn(texts)) expect(text).not.toMatch(LONE);
    }
  });

  test.each([
    [401, 'DEAD'],
    [404, 'DEAD'],
    [410, 'DEAD'],
    [400, 'LATER'],
    [403, 'LATER'],
    [502, 'LATER'],
  ])('that is answered with %i is %s', async (code, verdict) => {
    const { url } = await stub(status(code, '{"message": "Unknown Webhook", "code": 10015}'));
    const outcome = await sendOnce({ kind: 'DISCORD', url });
    expect(outcome).toMatchObject({ verdict, error: expect.stringContaining('Unknown Webhook') });
  });

  test('that is answered with 429 waits as long as it is asked to', async () => {
    const { url } = await stub(status(429, '{"retry_after": 64.57}', { 'retry-after': '65' }));
    expect(await sendOnce({ kind: 'DISCORD', url })).toMatchObject({ verdict: 'BUSY', retryAfterSeconds: 65 });
  });
});

/** What ntfy makes of a header (RFC 2047). */
function decoded(value: unknown): string {
  const joined = String(value).replace(/\?= =\?/g, '?==?');
  return joined.replace(/=\?UTF-8\?B\?([^?]*)\?=/g, (_, base64: string) => Buffer.from(base64, 'base64').toString());
}

describe('a message to ntfy', () => {
  test('has a plain body, and the rest in headers', async () => {
    const { url, headers, body } = await received('NTFY', messageOf(), { token: 'tk_abc', path: '/base/' });
    expect(url).toBe('/base/backups');
    expect(headers).toMatchObject({
      ...{ title: 'backup is failing', priority: '4', tags: 'rotating_light', authorization: 'Bearer tk_abc' },
      ...{ click: 'https://chronoverse.example.com/workflows/1', 'content-type': 'text/plain; charset=utf-8' },
    });
    expect(body).toMatch(/^The container exited with code 1\.\nTime: .*\n\ncopying\ndisk is full$/s);
    expect((await received('NTFY', messageOf())).headers.authorization).toBeUndefined();
    expect((await received('NTFY', messageOf(), { path: '' })).url).toBe('/backups');
  });

  test('writes a title beyond ASCII as RFC 2047 says', async () => {
    for (const name of ['Sicherung für Köln', '世界'.repeat(40), '😀'.repeat(60), '=?UTF-8?B?eA==?=']) {
      const { headers } = await received('NTFY', messageOf({ workflow: { id: 'w', name } }));
      expect(headers.title).toMatch(/^[\x20-\x7e]+$/);
      for (const word of String(headers.title).split(' ')) expect(word.length).toBeLessThanOrEqual(75);
      expect(decoded(headers.title).slice(0, 100)).toBe(`${name} is failing`.slice(0, 100));
    }
  });

  test('has no header, link or mention of a user', async () => {
    const { headers, body } = await received('NTFY', hostile());
    expect(headers).not.toHaveProperty('bcc');
    expect(`${decoded(headers.title)}\n${body}`).not.toMatch(/:\/\/|@\w|\r|\u202e/);
  });

  test('has at most 4,000 bytes, cut at a whole character', async () => {
    for (let shift = 0; shift < 4; shift += 1) {
      const long = { reason: `${'a'.repeat(shift)}${'😀'.repeat(900)}`, logLines: ['世'.repeat(1_000), 'end'] };
      for (const message of [messageOf(long), digestOf(1_000, 20, { workflow: { id: 'w', name: '世'.repeat(200) } })]) {
        const { body } = await received('NTFY', message);
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(4_000);
        expect(body).not.toContain('\ufffd');
        if (message.kind === 'ALERT') expect(body).toMatch(/end$/);
      }
    }
  });

  test.each([
    [401, 'LATER'],
    [403, 'LATER'],
    [404, 'LATER'],
    [410, 'DEAD'],
    [413, 'LATER'],
    [429, 'BUSY'],
    [507, 'LATER'],
  ])('that is answered with %i is %s, without its token', async (code, verdict) => {
    const { url } = await stub(status(code, 'unauthorized: Bearer tk_hidden of topic-hidden'));
    const outcome = await sendOnce({ kind: 'NTFY', url, topic: 'topic-hidden', token: 'tk_hidden' });
    expect(outcome).toMatchObject({ verdict, status: code });
    expect(JSON.stringify(outcome)).not.toContain('hidden');
  });
});
