/** A moment by this process's own clocks, in milliseconds. */
export interface Instant {
  readonly monotonic: number;
  readonly wall: number;
}

export function instant(): Instant {
  return { monotonic: performance.now(), wall: Date.now() };
}

/**
 * The longer of what both clocks say: the monotonic one stands still while the machine sleeps, the
 * other one can be set back.
 */
export function elapsedMs(since: Instant): number {
  return Math.max(performance.now() - since.monotonic, Date.now() - since.wall);
}
