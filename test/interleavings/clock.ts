import { vi } from 'vitest';

/**
 * A clock that stands still until a test moves it. It applies to everything except the database and
 * its driver.
 */
export interface Clock {
  pass(seconds: number): Promise<void>;
  stop(): void;
}

const IDLE_MS = 60_000;
const FAKED = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] as const;

export function startClock(): Clock {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  vi.useFakeTimers({ toFake: [...FAKED] });
  const fake = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  const drivers = new Set<unknown>();
  const isDrivers = (run: unknown, more: unknown[]) =>
    // Only the driver calls setTimeout in this form.
    more.length > 0 || (typeof run === 'function' && run.name === 'connect');
  globalThis.setTimeout = new Proxy(fake.setTimeout, {
    apply(target, self, [run, ms, ...more]: [() => void, number, ...unknown[]]) {
      if (!isDrivers(run, more)) return Reflect.apply(target, self, [run, ms]);
      // By this clock, the driver would never reopen a connection that it closed for being idle.
      const timer = ms < IDLE_MS ? real.setTimeout(run, ms, ...more) : undefined;
      drivers.add(timer);
      return timer;
    },
  });
  globalThis.clearTimeout = (timer) => {
    if (drivers.delete(timer)) real.clearTimeout(timer);
    else fake.clearTimeout(timer);
  };
  return {
    pass: async (seconds) => void (await vi.advanceTimersByTimeAsync(seconds * 1_000)),
    stop() {
      globalThis.setTimeout = fake.setTimeout;
      globalThis.clearTimeout = fake.clearTimeout;
      vi.useRealTimers();
    },
  };
}
