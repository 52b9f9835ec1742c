import { percentileMs } from './durations.ts';

const HOUR_MS = 3_600_000;

const DAY_MS = 24 * HOUR_MS;

/** From one instant up to another, which is excluded. Undefined means no bound. */
export interface TimeRange {
  from: Date | undefined;
  to: Date | undefined;
}

export interface Summary {
  jobCount: number;
  completedJobCount: number;
  failedJobCount: number;
  canceledJobCount: number;
  logLineCount: number;
  totalDurationMs: number;
  p50DurationMs: number | undefined;
  p99DurationMs: number | undefined;
}

/** A total of what ended in the same state, with a duration in the same bucket. */
export interface EndedTotal {
  what: 'COMPLETED' | 'FAILED' | 'CANCELED';
  bucket: number;
  count: number;
  logLines: number;
  durationMs: number;
}

/**
 * The totals count by the hour (UTC). So `from` goes back to the beginning of its hour, and `to` on
 * to the end of its hour.
 */
export function wholeHours({ from, to }: TimeRange): TimeRange {
  return {
    from: from && new Date(Math.floor(from.getTime() / HOUR_MS) * HOUR_MS),
    to: to && new Date(Math.ceil(to.getTime() / HOUR_MS) * HOUR_MS),
  };
}

/** The whole days (UTC) of a range, if it has any, and what is left of it before and after them. */
export function wholeDays({ from, to }: TimeRange): { days: TimeRange | undefined; hours: TimeRange[] } {
  const first = from && new Date(Math.ceil(from.getTime() / DAY_MS) * DAY_MS);
  const last = to && new Date(Math.floor(to.getTime() / DAY_MS) * DAY_MS);
  if (first && last && first >= last) return { days: undefined, hours: [{ from, to }] };
  const edges = [
    { from, to: first },
    { from: last, to },
  ];
  return {
    days: { from: first, to: last },
    hours: edges.filter((edge) => edge.from && edge.to && edge.from < edge.to),
  };
}

/**
 * Whether something that existed from `createdAt` to `deletedAt` existed within the range, which
 * may lie in the future.
 */
export function existedWithin(
  { createdAt, deletedAt }: { createdAt: Date; deletedAt: Date | null },
  { from, to }: TimeRange,
  now: Date,
): boolean {
  if (from && from > now) return false;
  return (!to || createdAt < to) && (!from || !deletedAt || deletedAt >= from);
}

export function summarize(totals: EndedTotal[]): Summary {
  const sum = (of: EndedTotal[], value: (total: EndedTotal) => number) =>
    of.reduce((before, total) => before + value(total), 0);
  const count = (what: EndedTotal['what']) =>
    sum(
      totals.filter((total) => total.what === what),
      (total) => total.count,
    );
  const buckets = new Map<number, number>();
  for (const { bucket, count } of totals) buckets.set(bucket, (buckets.get(bucket) ?? 0) + count);
  return {
    jobCount: sum(totals, (total) => total.count),
    completedJobCount: count('COMPLETED'),
    failedJobCount: count('FAILED'),
    canceledJobCount: count('CANCELED'),
    logLineCount: sum(totals, (total) => total.logLines),
    totalDurationMs: sum(totals, (total) => total.durationMs),
    p50DurationMs: percentileMs(buckets, 0.5),
    p99DurationMs: percentileMs(buckets, 0.99),
  };
}
