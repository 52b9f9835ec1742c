import { type Instant, instant } from '../../platform/async/instant.ts';

/** For how long something has gone on without a break, by what a process sees of it. */
export interface Uptime {
  /** It goes on just now. Whether that begins a time without a break. */
  goesOn(): boolean;
  ended(): void;
  /** Up to the last time that it went on; 0 when that is not recent. So it counts nothing that was not seen. */
  seconds(): number;
}

/**
 * More than `gapMs` between two times is a break, by either clock (the monotonic one stands still while the machine sleeps, the other one can be set);
 * so is a clock that is set back.
 */
export function createUptime({ gapMs, now = instant }: { gapMs: number; now?: (() => Instant) | undefined }): Uptime {
  let unbroken: { since: Instant; last: Instant } | undefined;
  const isRecent = (last: Instant, at: Instant) =>
    at.wall >= last.wall && Math.max(at.wall - last.wall, at.monotonic - last.monotonic) <= gapMs;
  return {
    goesOn() {
      const at = now();
      const isNew = unbroken === undefined || !isRecent(unbroken.last, at);
      unbroken = unbroken === undefined || isNew ? { since: at, last: at } : { ...unbroken, last: at };
      return isNew;
    },
    ended() {
      unbroken = undefined;
    },
    seconds() {
      if (unbroken === undefined || !isRecent(unbroken.last, now())) return 0;
      const { since, last } = unbroken;
      return Math.min(last.wall - since.wall, last.monotonic - since.monotonic) / 1_000;
    },
  };
}
