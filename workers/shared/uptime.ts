import { type Instant, instant } from '../../platform/async/instant.ts';

/** How long something has continued without a break, as far as this process saw. */
export interface Uptime {
  /** It continues now. Returns whether this begins a new period. */
  goesOn(): boolean;
  ended(): void;
  /**
   * Up to the last time that it continued; 0 when that is not recent. Counts only time that this
   * process saw.
   */
  seconds(): number;
}

/**
 * A gap of more than `gapMs` is a break, by either clock: the monotonic clock stands still while
 * the machine sleeps, and the other one can be set. A clock that is set back is a break too.
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
