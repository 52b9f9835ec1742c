/**
 * Percentiles from counts of durations in buckets of logarithmic width, so that they add up over
 * hours, workflows and deletions. The database turns a duration into a bucket (duration_bucket in
 * db/migrations), and this file turns a bucket into a duration. Both sides know these constants.
 */

/** A percentile differs from the duration at its rank by at most this fraction of the duration. */
export const DURATION_ERROR_MAX = 0.05;
const GROWTH = (1 + DURATION_ERROR_MAX) / (1 - DURATION_ERROR_MAX);

/**
 * The duration at the rank of `fraction`: the smallest that at least this fraction of all does not
 * exceed. Undefined when nothing is counted.
 */
export function percentileMs(counts: ReadonlyMap<number, number>, fraction: number): number | undefined {
  const buckets = [...counts].filter(([bucket]) => bucket >= 0).sort(([a], [b]) => a - b);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  let left = Math.max(1, Math.ceil(total * fraction));
  for (const [bucket, count] of buckets) {
    left -= count;
    if (left <= 0) return middleMs(bucket);
  }
  return undefined;
}

/** The point whose distance to each bound of the bucket is the same fraction of that bound. */
function middleMs(bucket: number): number {
  return bucket === 0 ? 0 : (2 * GROWTH ** (bucket - 1)) / (GROWTH + 1);
}
