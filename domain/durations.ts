/**
 * Percentiles from counts of durations in buckets of logarithmic width, so that they add up over
 * hours, workflows and deletions. The bucket of a duration is made by the database (duration_bucket
 * in db/migrations); here is the way back. Both sides know these constants.
 */

/**
 * A percentile is at most this far from the duration that stands at its rank, as a fraction of it.
 */
export const DURATION_ERROR_MAX = 0.05;
const GROWTH = (1 + DURATION_ERROR_MAX) / (1 - DURATION_ERROR_MAX);

/**
 * The duration at the rank of `fraction` (the smallest that at least so many do not exceed);
 * undefined where nothing is counted.
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

/**
 * As far from the lower bound of the bucket as from the upper one, each as a fraction of the bound.
 */
function middleMs(bucket: number): number {
  return bucket === 0 ? 0 : (2 * GROWTH ** (bucket - 1)) / (GROWTH + 1);
}
