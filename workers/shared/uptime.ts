import { type Instant, instant } from '../../platform/async/instant.ts';

/** How long something has lasted without a break, as far as this process saw. */
export interface Uptime {
  /** Notes that it continues now. Returns whether this begins a new period. */
  goesOn(): boolean;
  ended(): void;
  /**
   * The seconds up to the last time that it continued, or 0 when that is not recent. They count
   * only time that this process saw.
   */
  seconds(): number;
}

/**
 * A gap of more than `gapMs` on either clock is a break: the monotonic clock stands still while the
 * machine sleeps, and the wall clock can be set. A wall clock that is set back is a break too.
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
