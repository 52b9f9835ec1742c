import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Signal } from '../../platform/async/signal.ts';

describe('a signal', () => {
  const never = new AbortController().signal;

  test('ends a wait in progress', async () => {
    const signal = new Signal();
    const waited = signal.wait(never);
    signal.notify();
    await waited;
  });

  test('keeps one notification that comes while nobody waits, and only one', async () => {
    const signal = new Signal();
    signal.notify();
    signal.notify();
    await signal.wait(never);
    const started = performance.now();
    await signal.wait(never, 20);
    expect(performance.now() - started).toBeGreaterThan(15);
  });

  test('ends its wait when the abort signal aborts, and leaves no listener', async () => {
    const stop = new AbortController();
    const signal = new Signal();
    for (let n = 0; n < 20; n += 1) await signal.wait(stop.signal, 0);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    const waited = signal.wait(stop.signal);
    stop.abort();
    await waited;
    await signal.wait(stop.signal);
  });
});
