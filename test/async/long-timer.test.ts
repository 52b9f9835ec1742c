import { expect, test, vi } from 'vitest';
import { callAfter, TIMER_MS_MAX } from '../../platform/async/long-timer.ts';

test('a call beyond the maximum of a timer comes when it is due, and not at once', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    for (const ms of [0, 1_000, TIMER_MS_MAX, TIMER_MS_MAX + 1, 31_536_000_000]) {
      const run = vi.fn();
      callAfter(ms, run);
      if (ms > 0) vi.advanceTimersByTime(ms - 1);
      expect(run, `${ms} ms, before`).not.toHaveBeenCalled();
      vi.advanceTimersByTime(1);
      expect(run, `${ms} ms`).toHaveBeenCalledOnce();
    }
    const run = vi.fn();
    const forget = callAfter(2 * TIMER_MS_MAX, run);
    vi.advanceTimersByTime(TIMER_MS_MAX + 5);
    forget();
    vi.advanceTimersByTime(2 * TIMER_MS_MAX);
    expect(run).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});
