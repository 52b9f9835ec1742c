import { describe, expect, test } from 'vitest';
import type { Alert } from '../../domain/alerts/alert.ts';
import { contentOf, endEscapedTo, endOfLog, escapedTo, titleOf, webhookBody } from '../../domain/alerts/content.ts';
import { alert, digestOf, HOSTILE, messageOf } from './messages.ts';

const at = new Date('2026-11-30T10:00:00Z');
const later = (seconds: number) => new Date(at.getTime() + seconds * 1_000);
const incident = { id: 'i1', openedAt: at, resolvedAt: later(3_700), failures: 4, firstJobId: 'j1' };
const LONE = /\p{Cs}/u; // half of a surrogate pair

describe('the content of an alert', () => {
  test.each([
    ['WORKFLOW_FAILING', 'backup is failing'],
    ['WORKFLOW_RECOVERED', 'backup works again'],
    ['WORKFLOW_TERMINATED', 'backup was terminated'],
    ['WORKFLOW_BUILD_FAILED', 'The build of backup failed'],
    ['JOB_FAILED', 'A job of backup failed'],
    ['JOB_COMPLETED', 'A job of backup completed'],
    ['CHANNEL_DISABLED', 'An alert channel was disabled'],
    ['TEST', 'Test of the alert channel ops'],
  ] satisfies [Alert['event'], string][])('has a title for %s', (event, title) => {
    expect(titleOf(alert({ event }))).toBe(title);
  });

  test('says why, since when, how often, and when it runs next', () => {
    const message = messageOf({
      at,
      incident: { ...incident, resolvedAt: undefined },
      jobId: 'j4',
      nextRunAt: later(60),
    });
    const { sentences, facts } = contentOf(message, later(1));
    expect(sentences).toEqual(['The container exited with code 1.']);
    expect(facts).toEqual([
      { name: 'Time', value: '2026-11-30T10:00:00.000Z' },
      { name: 'Failing since', value: '2026-11-30T10:00:00.000Z' },
      { name: 'Failures in a row', value: '4' },
      { name: 'First failed job', value: 'j1' },
      { name: 'Job', value: 'j4' },
      { name: 'Next run', value: '2026-11-30T10:01:00.000Z' },
      { name: 'Workflow', value: expect.any(String) },
    ]);
  });

  test('says at the end how long it was, how many jobs failed, and which was the first', () => {
    const message = messageOf({ event: 'WORKFLOW_RECOVERED', at: later(3_700), incident, reason: undefined });
    const { sentences, facts } = contentOf(message, later(3_700));
    expect(sentences).toEqual(['It was failing for 1 h 1 min: 4 jobs in a row failed.']);
    expect(facts).toContainEqual({ name: 'Duration', value: '1 h 1 min' });
    expect(facts).toContainEqual({ name: 'First failed job', value: 'j1' });
  });

  test('says from when to when in one message, if the beginning was not sent before the end', () => {
    const message = messageOf({ event: 'WORKFLOW_RECOVERED', at: later(3_700), incident, isWholeIncident: true });
    const { title, sentences } = contentOf(message, later(3_700));
    expect(title).toBe('backup was failing and works again');
    expect(sentences[0]).toBe(
      'It was failing from 2026-11-30T10:00:00.000Z to 2026-11-30T11:01:40.000Z: 4 jobs in a row failed.',
    );
    expect(titleOf(alert({ isWholeIncident: true, incident }))).toBe('backup was failing');
  });

  test('says how late it is from two minutes on', () => {
    expect(contentOf(messageOf({ at }), later(120)).sentences).toHaveLength(1);
    expect(contentOf(messageOf({ at }), later(200)).sentences.at(-1)).toBe(
      'This message is 3 min 20 s late: it is about 2026-11-30T10:00:00.000Z.',
    );
    const tooLate = digestOf(3, 3, { at });
    expect(contentOf(tooLate, later(600)).sentences.at(-1)).toContain('10 min late');
  });

  test('names twenty alerts of a digest and counts the rest', () => {
    const { title, sentences } = contentOf(digestOf(1_000, 25));
    expect(title).toBe('1000 alerts');
    expect(sentences).toHaveLength(21);
    expect(sentences[0]).toMatch(/: backup is failing\.$/);
    expect(sentences.at(-1)).toContain('980 more');
  });

  test('has nothing of a user in a confirmation', () => {
    const { title, sentences, facts, link } = contentOf({ kind: 'CONFIRMATION', deliveryId: 'd', code: '123456' });
    expect([title, ...sentences].join('\n')).toContain('123456');
    expect([facts, link]).toEqual([[], undefined]);
  });

  test('has one line a text, whatever a user writes', () => {
    const message = messageOf({ workflow: { id: 'w', name: HOSTILE }, reason: `${HOSTILE}\n\0\u001b[31m\ud83d` });
    const { title, sentences, logLines } = contentOf({ ...message });
    for (const text of [title, ...sentences, ...logLines]) {
      expect(text).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
      expect(text).not.toMatch(LONE);
    }
    expect(title.length).toBeLessThan(200);
  });
});

describe('the log of an alert', () => {
  test('is its last ten lines without controls', () => {
    const lines = Array.from({ length: 30 }, (_, n) => `\u001b[1;31mline\t${n}\u001b[0m\r\u0007`);
    expect(endOfLog(lines)).toEqual(Array.from({ length: 10 }, (_, n) => `line  ${n + 20}`));
  });

  test('is cut at the front to a thousand characters, never within one', () => {
    for (let length = 0; length < 4; length += 1) {
      const [first = '', ...rest] = endOfLog(['gone', '😀'.repeat(600), 'a'.repeat(500 + length)]);
      expect([first, ...rest].join('\n').length).toBeLessThanOrEqual(1_000);
      expect(first).toMatch(/^…😀/u);
      expect(first).not.toMatch(LONE);
      expect(rest).toEqual(['a'.repeat(500 + length)]);
    }
  });
});

test('an escaped text is cut at whole characters, also within its bound', () => {
  const write = (character: string) => (character === '&' ? '&amp;' : character);
  for (let lengthMax = 5; lengthMax < 40; lengthMax += 1) {
    const text = 'a&😀b&&c😀&d&e&f';
    const [front, back] = [escapedTo(lengthMax, text, write), endEscapedTo(lengthMax, text, write)];
    for (const cut of [front, back]) {
      expect(cut.length).toBeLessThanOrEqual(lengthMax);
      expect(cut.replaceAll('&amp;', '')).not.toContain('&');
      expect(cut.replaceAll('&amp;', '')).not.toContain(';');
      expect(cut).not.toMatch(LONE);
    }
  }
  expect(escapedTo(50, 'a&b', write)).toBe('a&amp;b');
});

describe('the body of a webhook', () => {
  test('has the type, the time and the data of the event', () => {
    expect(JSON.parse(webhookBody(alert({ at, incident })))).toMatchObject({
      type: 'workflow.failing',
      timestamp: '2026-11-30T10:00:00.000Z',
      data: {
        event: 'WORKFLOW_FAILING',
        channel: 'ops',
        workflow: { name: 'backup' },
        incident: { id: 'i1', openedAt: '2026-11-30T10:00:00.000Z', failures: 4, firstJobId: 'j1' },
        log: ['copying', 'disk is full'],
        isWholeIncident: false,
      },
    });
    const type = (event: Alert['event']) => JSON.parse(webhookBody(alert({ event }))).type;
    expect([type('WORKFLOW_BUILD_FAILED'), type('CHANNEL_DISABLED'), type('TEST')]).toEqual([
      ...['workflow.build_failed', 'channel.disabled', 'test'],
    ]);
  });

  test.each(['a', '"', '世', '😀', '\\'])('has at most 20 KiB, full of %s', (character) => {
    const long = character.repeat(100_000);
    const body = webhookBody(
      alert({
        ...{ reason: long, channelName: long, workflow: { id: 'w', name: long }, link: `https://a.test/${long}` },
        logLines: Array.from({ length: 100 }, () => long),
      }),
    );
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(20 * 1024);
    expect(JSON.parse(body).data.workflow.id).toBe('w');
  });
});
