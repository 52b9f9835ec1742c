import type { Logger } from 'pino';
import { describe, expect, test } from 'vitest';
import { createLoggerTo, logReady } from '../../platform/log.ts';
import { LINE_BYTES_MAX } from '../../platform/log-line.ts';
import { createOutageLog } from '../../platform/outage-log.ts';

function logger(level: string) {
  const lines: string[] = [];
  return { log: createLoggerTo({ write: (line) => lines.push(line) }, level), lines };
}

describe('the log of an outage', () => {
  class Away extends Error {}

  function watched(isUp: () => boolean) {
    const lines: string[] = [];
    const outages = createOutageLog();
    const log = createLoggerTo({ write: (line) => lines.push(JSON.parse(line).msg) }, 'info', { outages });
    outages.watch({
      log,
      isOutage: (error) => error instanceof Away,
      isUp: async () => isUp(),
      begins: () => 'It is away.',
      ends: 'It is back.',
      signal: new AbortController().signal,
    });
    return { log, lines };
  }

  test('is one line when it begins and one when it ends; the end of a wait and a late error add none', async () => {
    let isUp = false;
    const { log, lines } = watched(() => isUp);
    log.info({ after: new Away() }, 'Reading works again.');
    log.warn({ err: new Away() }, 'Reading failed.');
    log.warn({ err: new Away() }, 'Writing failed.');
    log.warn({ err: new Error('other') }, 'Other.');
    isUp = true;
    await expect.poll(() => lines).toContain('It is back.');
    log.info({ after: new Away() }, 'Reading works again.');
    log.warn({ err: new Away() }, 'Writing failed late.');
    await new Promise(setImmediate);
    expect(lines).toEqual(['It is away.', 'Other.', 'It is back.']);
    isUp = false;
    log.warn({ err: new Away() }, 'Writing failed.');
    await expect.poll(() => lines.slice(3)).toEqual(['It is away.']);
  });
});

describe('the log', () => {
  test('contains no secret that is logged under its name', () => {
    const { log, lines } = logger('info');
    log.info({
      token: 'hunter2',
      input: { password: 'hunter2' },
      headers: { authorization: 'hunter2', cookie: 'hunter2' },
    });
    expect(lines.join()).not.toContain('hunter2');
    expect(lines.join()).toContain('[redacted]');
  });

  test('contains the ready line at every level, and nothing else below it', () => {
    const { log, lines } = logger('error');
    log.info('left out');
    logReady(log, { url: 'http://127.0.0.1:1/graphql' }, 'ready');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { event: 'ready', url: 'http://127.0.0.1:1/graphql' },
    ]);
    expect(lines).toHaveLength(1);
  });

  test('names levels, and times in UTC', () => {
    const { log, lines } = logger('info');
    log.warn('x');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'warn', time: expect.stringMatching(/^\d{4}-.*Z$/) });
  });

  test.each([
    ['a long message', (log: Logger) => log.warn('é'.repeat(50_000))],
    ['a message of control characters', (log: Logger) => log.warn('\u0001'.repeat(50_000))],
    ['a long field', (log: Logger) => log.warn({ text: 'x'.repeat(50_000), list: Array(9_000).fill('y') }, 'm')],
    [
      'many fields',
      (log: Logger) => log.warn(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, 'x'])), 'm'),
    ],
    [
      'a long error with causes',
      (log: Logger) => log.warn({ err: new Error('x'.repeat(9_000), { cause: new Error('y'.repeat(9_000)) }) }, 'm'),
    ],
    [
      'all of them',
      (log: Logger) =>
        log.warn({ a: 'é'.repeat(9_000), err: new Error('é'.repeat(9_000)), b: 'x'.repeat(9_000) }, 'é'.repeat(9_000)),
    ],
  ])('has no line above 4 KB: %s', (_, write) => {
    const { log, lines } = logger('info');
    write(log);
    expect(lines).toHaveLength(1);
    expect(Buffer.byteLength(lines[0] ?? '')).toBeLessThanOrEqual(LINE_BYTES_MAX);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'warn' });
  });

  test('contains no secret of a long object either, and keeps lists and objects what they are', () => {
    const { log, lines } = logger('info');
    log.info({ input: { password: 'hunter2', rest: 'x'.repeat(5_000) }, changes: Array(99).fill({ field: 'name' }) });
    expect(lines.join()).not.toContain('hunter2');
    expect(JSON.parse(lines[0] ?? '').changes[0]).toEqual({ field: 'name' });
  });

  test('shows the name of a failed statement, and not its parameters', () => {
    const { log, lines } = logger('info');
    const query = 'Failed query: \n  SELECT /* listJobs */ 1\nparams: hunter2';
    log.warn({ err: new Error(query, { cause: new Error('connection refused') }) }, 'It failed.');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      err: {
        message: 'Failed query: listJobs',
        cause: 'Error: connection refused',
        stack: expect.stringContaining('at '),
      },
    });
    expect(lines.join()).not.toContain('hunter2');
  });
});
