import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { repeat, startRepeating } from '../../platform/async/repeat.ts';
import { Signal } from '../../platform/async/signal.ts';

const HOUR_MS = 3_600_000;

describe('repeat', () => {
  test('never runs twice at the same time, however often it is woken', async () => {
    const wake = new Signal();
    const stop = new AbortController();
    let running = 0;
    let most = 0;
    let runs = 0;
    await repeat({ everyMs: HOUR_MS, wake, signal: stop.signal }, async () => {
      running += 1;
      most = Math.max(most, running);
      runs += 1;
      for (let n = 0; n < 10; n += 1) {
        wake.notify();
        await turn();
      }
      running -= 1;
      if (runs === 5) stop.abort();
    });
    expect({ most, runs }).toEqual({ most: 1, runs: 5 });
  });

  test('runs again at once after a run that returns 0, and continues after one that fails', async () => {
    const stop = new AbortController();
    let runs = 0;
    await repeat({ everyMs: HOUR_MS, minMs: 1, maxMs: 1, signal: stop.signal }, async () => {
      runs += 1;
      if (runs === 10) stop.abort();
      if (runs % 2 === 0) throw new Error('away');
      return 0;
    });
    expect(runs).toBe(10);
  });

  test('waits for the current run when it is stopped, and then never runs again', async () => {
    let finish = () => {};
    let runs = 0;
    const stop = startRepeating({ everyMs: 1 }, () => {
      runs += 1;
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    let hasEnded = false;
    const ended = stop().then(() => {
      hasEnded = true;
    });
    await turn();
    expect(hasEnded).toBe(false);
    finish();
    await ended;
    expect(runs).toBe(1);
  });

  test('may wait before its first run, and does not run at all if it is stopped before', async () => {
    let runs = 0;
    await startRepeating({ everyMs: HOUR_MS, waitsFirst: true }, async () => {
      runs += 1;
    })();
    expect(runs).toBe(0);
  });
});
