import { setTimeout as delay } from 'node:timers/promises';
import { type LogFn, type Logger, levels } from 'pino';

const PROBE_MS = 1_000;
/** What was under way in the outage may fail a little after the part is back. */
const SETTLED_MS = 5_000;
/** In this time after an outage, a late error begins no new one while the part answers. */
const LATE_MS = 30_000;
/** Lines from info to warn move to the debug log. An error or the end of the process stays. */
const [LEVEL_MIN, LEVEL_MAX] = [levels.values.info ?? 0, levels.values.warn ?? 0];

/** A server that this process depends on, and that may be away for a while. */
export interface WatchedPart {
  log: Logger;
  /** Whether the error is surely of an outage of this part. */
  isOutage(error: unknown): boolean;
  isUp(): Promise<boolean>;
  /** The line when an outage begins. */
  begins(error: unknown): string;
  /** The line when it ends. */
  ends: string;
  signal: AbortSignal;
}

/** Makes one line of what many loops and requests log about the same outage of a part. */
export interface OutageLog {
  /** A hook of the logger, which sees each line before it is written. */
  logMethod(this: Logger, args: Parameters<LogFn>, method: LogFn, level: number): void;
  /**
   * From now on, an outage of the part is one warning when it begins, and one line when `isUp` says
   * that it is over. What else is logged about it goes to the debug log.
   */
  watch(part: WatchedPart): void;
}

interface Watched extends WatchedPart {
  isAway: boolean;
  lastErrorAt: number;
  endedAt: number;
}

export function createOutageLog(): OutageLog {
  const watched: Watched[] = [];

  async function report(part: Watched, error: unknown): Promise<void> {
    const { log, signal, isUp, begins, ends } = part;
    const since = performance.now();
    const isLate = since - part.endedAt < LATE_MS && (await isUp());
    if (!isLate) {
      log.warn({ code: reasonOf(error) }, begins(error));
      let back: number | undefined;
      while (!signal.aborted && (back === undefined || performance.now() - part.lastErrorAt < SETTLED_MS)) {
        await delay(PROBE_MS, undefined, { ref: false });
        back = (await isUp()) ? (back ?? performance.now()) : undefined;
      }
      if (back !== undefined) log.info({ outageMs: Math.round(back - since) }, ends);
      part.endedAt = performance.now();
    }
    part.isAway = false;
  }

  return {
    logMethod(args, method, level) {
      const [fields] = args as readonly unknown[];
      const { error, isEnd } = errorIn(fields);
      const isOther = level < LEVEL_MIN || level > LEVEL_MAX;
      const part = isOther || error === undefined ? undefined : watched.find(({ isOutage }) => isOutage(error));
      if (part === undefined) return method.apply(this, args);
      if (!isEnd) {
        part.lastErrorAt = performance.now();
        if (!part.isAway) {
          part.isAway = true;
          void report(part, error);
        }
      }
      this.debug(...args);
    },
    watch(part) {
      const never = Number.NEGATIVE_INFINITY;
      watched.push({ ...part, isAway: false, lastErrorAt: never, endedAt: never });
    },
  };
}

/** The error of a line: the one that it reports, or the first of an outage whose end it reports. */
function errorIn(fields: unknown): { error?: unknown; isEnd: boolean } {
  if (typeof fields !== 'object' || fields === null) return { isEnd: false };
  if ('err' in fields) return { error: fields.err, isEnd: false };
  return 'after' in fields ? { error: fields.after, isEnd: true } : { isEnd: false };
}

/** The code of the first cause, or the beginning of its message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return reasonOf(error.cause);
  return 'code' in error ? String(error.code) : error.message.slice(0, 200);
}
