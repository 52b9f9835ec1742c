/** A moment by this process's own clocks, in milliseconds. */
export interface Instant {
  readonly monotonic: number;
  readonly wall: number;
}

export function instant(): Instant {
  return { monotonic: performance.now(), wall: Date.now() };
}

/**
 * The larger of the two clocks' differences. The monotonic clock stands still while the machine
 * sleeps, and the wall clock can be set back.
 */
export function elapsedMs(since: Instant): number {
  return Math.max(performance.now() - since.monotonic, Date.now() - since.wall);
}
