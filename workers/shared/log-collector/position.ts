/**
 * Where in a container's log a reader stands, so that a second reading can continue there. The
 * engine can start a reading only at a time. So this counts frames per tenth of a second, and the
 * second reading skips as many frames as the first one saw from that time on.
 */
export interface Position {
  /** Call it with each frame. The engine's timestamp begins at `start`. */
  count(bytes: Buffer, start: number): void;
  /**
   * The time to read from again, and how many frames of that reading were seen already. A line that
   * is not complete counts from its own timestamp (`openSince`): its later pieces carry the same
   * one.
   */
  resume(openSince: string[]): { since: string | undefined; skip: number };
}

/** 2026-11-24T12:24:27.2 */
const KEY_BYTES = 21;
const TENTHS_KEPT_MAX = 64;
/**
 * Frames stand in the log nearly in the order of their timestamps: the engine stamps stdout and
 * stderr before they queue for the file. No frame should come more than this after one with a newer
 * timestamp.
 */
const DISORDER_MS = 1_000;

export function createPosition(): Position {
  const counts = new Map<string, number>(); // by tenth of a second, the oldest first
  const current = Buffer.alloc(KEY_BYTES);
  let currentKey = '';
  let currentCount = 0;
  let total = 0;
  let forgotten = false;

  function turnTo(bytes: Buffer, start: number): void {
    if (currentKey !== '') counts.set(currentKey, currentCount);
    bytes.copy(current, 0, start, start + KEY_BYTES);
    currentKey = current.toString('latin1');
    currentCount = counts.get(currentKey) ?? 0;
    counts.set(currentKey, currentCount);
    if (counts.size <= TENTHS_KEPT_MAX) return;
    const oldest = [...counts.keys()].sort()[0] ?? currentKey;
    if (oldest === currentKey) return;
    counts.delete(oldest);
    forgotten = true;
  }

  return {
    count(bytes, start) {
      // The digits that change most come first. Month and year never change without the day.
      if (
        bytes[start + 20] !== current[20] ||
        bytes[start + 18] !== current[18] ||
        bytes[start + 17] !== current[17] ||
        bytes[start + 15] !== current[15] ||
        bytes[start + 14] !== current[14] ||
        bytes[start + 12] !== current[12] ||
        bytes[start + 11] !== current[11] ||
        bytes[start + 9] !== current[9] ||
        bytes[start + 8] !== current[8]
      )
        turnTo(bytes, start);
      currentCount += 1;
      total += 1;
    },

    resume(openSince) {
      if (total === 0) return { since: undefined, skip: 0 };
      counts.set(currentKey, currentCount);
      const keys = [...counts.keys()].sort();
      const newest = Date.parse(`${keys.at(-1)}Z`) - DISORDER_MS;
      const from = Math.min(newest, ...openSince.map((stamp) => Date.parse(`${stamp.slice(0, KEY_BYTES)}Z`)));
      const fromKey = new Date(from).toISOString().slice(0, KEY_BYTES);
      if (forgotten && fromKey < (keys[0] ?? '')) return { since: undefined, skip: total };
      const skip = keys.filter((key) => key >= fromKey).reduce((sum, key) => sum + (counts.get(key) ?? 0), 0);
      return { since: secondsOf(fromKey), skip };
    },
  };
}

/** The engine's timestamp as SECONDS.NANOSECONDS. It is text because a number would lose digits. */
export function secondsOf(stamp: string): string {
  const [, whole, fraction = ''] = /^([^.Z]*)(?:\.(\d*))?/.exec(stamp) ?? [];
  return `${Date.parse(`${whole}Z`) / 1_000}.${fraction.padEnd(9, '0')}`;
}
