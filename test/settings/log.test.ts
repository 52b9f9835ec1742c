import { describe, expect, test } from 'vitest';
import { createLoggerTo, logReady } from '../../platform/log.ts';

function logger(level: string) {
  const lines: string[] = [];
  return { log: createLoggerTo({ write: (line) => lines.push(line) }, level), lines };
}

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
});
