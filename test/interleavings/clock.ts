import { vi } from 'vitest';

/**
 * A clock that stands still until a test moves it, for all that is asked of the time but the
 * database and its driver.
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
    // How the driver calls it, and nobody else.
    more.length > 0 || (typeof run === 'function' && run.name === 'connect');
  globalThis.setTimeout = new Proxy(fake.setTimeout, {
    apply(target, self, [run, ms, ...more]: [() => void, number, ...unknown[]]) {
      if (!isDrivers(run, more)) return Reflect.apply(target, self, [run, ms]);
      // A connection that was closed for being idle would be opened again at a time by this clock,
      // which is never.
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
