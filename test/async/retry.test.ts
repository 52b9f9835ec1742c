import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { createBackoff, retry } from '../../platform/async/retry.ts';

function make() {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  return { lines, backoff: createBackoff({ minMs: 1, maxMs: 2, log, what: 'Looking' }) };
}

describe('a back-off', () => {
  test('logs an outage once and its end once, however many attempts failed', async () => {
    const { lines, backoff } = make();
    for (let n = 0; n < 5; n += 1) await backoff.wait(new Error('away'));
    expect(backoff.failures).toBe(5);
    backoff.reset();
    backoff.reset();
    expect(lines).toEqual(['Looking failed; it is tried again until it succeeds.', 'Looking works again.']);
  });

  test('logs nothing if nothing has failed', () => {
    const { lines, backoff } = make();
    backoff.reset();
    expect(lines).toEqual([]);
  });

  test('ends its wait at once when its signal aborts', async () => {
    const { lines } = make();
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
    const backoff = createBackoff({ minMs: 3_600_000, maxMs: 3_600_000, log, what: 'Looking' });
    const stop = new AbortController();
    const waited = backoff.wait(new Error('away'), stop.signal);
    stop.abort();
    await waited;
  });

  test('does not treat a failure during shutdown as an outage', async () => {
    const { lines, backoff } = make();
    await backoff.wait(new Error('away'), AbortSignal.abort());
    expect(lines).toEqual([]);
  });
});

describe('retry', () => {
  const fails = (times: number) => {
    let tries = 0;
    return {
      tries: () => tries,
      attempt: async () => {
        tries += 1;
        if (tries <= times) throw new Error(`away ${tries}`);
        return 'done';
      },
    };
  };
  const brief = { minMs: 1, maxMs: 2 };

  test('returns the result of the first attempt that succeeds', async () => {
    const { attempt, tries } = fails(3);
    expect(await retry({ ...brief, signal: new AbortController().signal }, attempt)).toBe('done');
    expect(tries()).toBe(4);
  });

  test('gives up at once on an error without time for retries, and rejects with that error', async () => {
    const { attempt, tries } = fails(1);
    const options = { ...brief, signal: new AbortController().signal, timeoutMs: () => 0 };
    await expect(retry(options, attempt)).rejects.toThrow('away 1');
    expect(tries()).toBe(1);
  });

  test('gives up when the time for an error is over, counted from the first failure', async () => {
    const { attempt, tries } = fails(Number.POSITIVE_INFINITY);
    const waits: number[] = [];
    const options = {
      minMs: 1,
      maxMs: 4,
      signal: new AbortController().signal,
      timeoutMs: () => (waits.length < 4 ? 3_600_000 : 0),
      onRetry: (_: unknown, waitMs: number) => waits.push(waitMs),
    };
    await expect(retry(options, attempt)).rejects.toThrow(/^away/);
    expect(tries()).toBe(waits.length + 1);
    expect(waits).toEqual([1, 2, 4, 4]);
  });

  test('begins nothing under an aborted signal, and ends a wait when the signal aborts', async () => {
    const { attempt, tries } = fails(Number.POSITIVE_INFINITY);
    await expect(retry({ signal: AbortSignal.abort(new Error('stopped')) }, attempt)).rejects.toThrow('stopped');
    expect(tries()).toBe(0);
    const stop = new AbortController();
    const onRetry = () => stop.abort(new Error('stopped'));
    await expect(retry({ minMs: 3_600_000, signal: stop.signal, onRetry }, attempt)).rejects.toThrow('stopped');
    expect(tries()).toBe(1);
  });

  test('begins once under a signal that has aborted, for work that must be recorded', async () => {
    const signal = AbortSignal.abort(new Error('stopped'));
    expect(await retry({ signal, atLeastOnce: true }, async () => 'done')).toBe('done');
    const { attempt, tries } = fails(Number.POSITIVE_INFINITY);
    await expect(retry({ signal, atLeastOnce: true }, attempt)).rejects.toThrow('stopped');
    expect(tries()).toBe(1);
  });
});
