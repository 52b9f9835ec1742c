import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { allAborted, unlessAborted } from '../../platform/async/abort.ts';
import { settledBefore, settledWithin, withDeadline } from '../../platform/async/deadline.ts';

const never = new Promise<never>(() => undefined);

describe('a deadline', () => {
  test('reports whether a promise settles in time', async () => {
    expect(await settledWithin(Promise.resolve(), 1_000)).toBe(true);
    expect(await settledWithin(never, 1)).toBe(false);
    await expect(settledWithin(Promise.reject(new Error('failed')), 1_000)).rejects.toThrow('failed');
  });

  test('may be a signal, on which it leaves no listener', async () => {
    const deadline = new AbortController();
    expect(await settledBefore(Promise.resolve(), deadline.signal)).toBe(true);
    const late = settledBefore(never, deadline.signal);
    deadline.abort();
    expect(await late).toBe(false);
    expect(getEventListeners(deadline.signal, 'abort')).toEqual([]);
  });

  test('that has passed accepts what has already settled, and waits for nothing else', async () => {
    expect(await settledBefore(Promise.resolve(), AbortSignal.abort())).toBe(true);
    expect(await settledBefore(never, AbortSignal.abort())).toBe(false);
  });

  test('makes an error from its message', async () => {
    expect(await withDeadline(Promise.resolve(1), 1_000, 'Too late.')).toBe(1);
    await expect(withDeadline(never, 1, 'Too late.')).rejects.toThrow('Too late.');
  });
});

describe('an abort', () => {
  test('explains the errors after it, and no others', async () => {
    const stop = new AbortController();
    const failed = () => Promise.reject(new Error('failed'));
    await expect(failed().catch(unlessAborted(stop.signal))).rejects.toThrow('failed');
    stop.abort();
    expect(await failed().catch(unlessAborted(stop.signal))).toBeUndefined();
  });

  test('of all signals happens with the last one', () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const all = allAborted([one.signal, other.signal, AbortSignal.abort()]);
    one.abort();
    expect(all.aborted).toBe(false);
    other.abort();
    expect(all.aborted).toBe(true);
    expect(allAborted([]).aborted).toBe(true);
  });
});
