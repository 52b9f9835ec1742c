import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { createBackoff } from '../../platform/async/retry.ts';

function make() {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  return { lines, backoff: createBackoff({ minMs: 1, maxMs: 2, log, what: 'Looking' }) };
}

describe('a back-off', () => {
  test('logs an outage once and its end once, however often it was tried', async () => {
    const { lines, backoff } = make();
    for (let n = 0; n < 5; n += 1) await backoff.wait(new Error('away'));
    expect(backoff.failures).toBe(5);
    backoff.reset();
    backoff.reset();
    expect(lines).toEqual(['Looking failed; it is tried again until it succeeds.', 'Looking works again.']);
  });

  test('says nothing when nothing has failed', () => {
    const { lines, backoff } = make();
    backoff.reset();
    expect(lines).toEqual([]);
  });

  test('ends its wait at once when it is told to stop', async () => {
    const { lines } = make();
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
    const backoff = createBackoff({ minMs: 3_600_000, maxMs: 3_600_000, log, what: 'Looking' });
    const stop = new AbortController();
    const waited = backoff.wait(new Error('away'), stop.signal);
    stop.abort();
    await waited;
  });

  test('takes what fails while it stops for no outage', async () => {
    const { lines, backoff } = make();
    await backoff.wait(new Error('away'), AbortSignal.abort());
    expect(lines).toEqual([]);
  });
});
