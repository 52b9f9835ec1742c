/** How long a delivery is tried, in hours from when it was queued. */
export const DELIVERY_HOURS_MAX = 24;
/** The most that a `Retry-After` delays a channel. */
export const RETRY_AFTER_SECONDS_MAX = 900;
/** How long a channel waits that was refused because it is too busy, and that does not say. */
export const BUSY_SECONDS = 60;
/** A channel that fails for so long and so often is disabled. */
export const FAILING_DAYS_MAX = 5;
export const FAILURES_MAX = 20;
/** An e-mail channel whose messages are refused for good so often in a row is disabled. */
export const REJECTIONS_MAX = 3;

/** From one attempt to the next. The last one goes on until the 24 hours are over. */
const DELAYS_SECONDS = [5, 30, 2 * 60, 10 * 60, 30 * 60, 3_600, 2 * 3_600, 4 * 3_600, 8 * 3_600];
const LAST_DELAY_SECONDS = 8 * 3_600;
const JITTER = 0.2;

/**
 * Seconds to the next attempt of a channel that has failed for so long. They vary by a fifth, so
 * that what failed together is not tried together. They follow from the time, not from the number
 * of attempts: a new delivery may try a channel that fails, and must not make it wait longer.
 */
export function retryAfterSeconds(failedForSeconds: number, random = Math.random()): number {
  let sum = 0;
  const delay = DELAYS_SECONDS.find((seconds) => {
    sum += seconds;
    return failedForSeconds < sum * (1 - JITTER);
  });
  return (delay ?? LAST_DELAY_SECONDS) * (1 - JITTER + 2 * JITTER * random);
}
