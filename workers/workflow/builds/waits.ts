import { type EngineError, isEngineError } from '../../../platform/docker/errors.ts';

/** An outage that a build waits out: the registry, or the engine, is away for a while. */
export interface Outage {
  /** The sentence about it, without secrets. */
  message: string;
  /** Until the next attempt. */
  waitSeconds: number;
  /** The engine itself gave no answer. */
  isOfEngine: boolean;
  /** The steps of the build ran, and may have caused it: the attempt counts. */
  counted: boolean;
}

/** The wait doubles from the first to the last of these, for each outage that the build has met. */
const WAIT_SECONDS_MIN = 5;
const WAIT_SECONDS_MAX = 300;
const DOUBLINGS_MAX = 10;
/** The longest wait for which a registry may ask (Retry-After). */
const RETRY_AFTER_SECONDS_MAX = 3_600;

/**
 * How long a build waits that has waited `waits` times before. Builds that failed together do not
 * come back together. None comes back by itself before
 * its registry asked it to: rebuildWorkflow tries at once all the same.
 */
export function waitSeconds(waits: number, error: EngineError): number {
  const most = Math.min(WAIT_SECONDS_MAX, WAIT_SECONDS_MIN * 2 ** Math.min(waits, DOUBLINGS_MAX));
  const asked = Math.min(RETRY_AFTER_SECONDS_MAX, error.retryAfterSeconds ?? 0);
  return Math.ceil(Math.max(asked, most * (0.75 + Math.random() / 4)));
}

/** How long to try again at once, in the same attempt: most outages last a moment. */
const AT_ONCE_MS = 3_000;

/** 0 where a build waits instead, and leaves its place to others. */
export function atOnceMs(error: unknown, { isFirst }: { isFirst: boolean }): number {
  const passes = isEngineError(error) && error.passes;
  return passes && isFirst && error.retryAfterSeconds === undefined ? AT_ONCE_MS : 0;
}
