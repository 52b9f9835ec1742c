import { IS_LONG_RUN } from '../support/run-length.ts';

/**
 * INTERLEAVINGS_SECONDS: for a longer hunt by hand. INTERLEAVINGS_SEED: the seed that a failed
 * random run has printed, to see it again.
 */
const { INTERLEAVINGS_SECONDS, INTERLEAVINGS_SEED } = process.env;

/**
 * How long a test goes on to take new orders, unless INTERLEAVINGS_SECONDS says. It completes the
 * one that it has begun.
 */
export function runMs({ long, quick = long }: { long: number; quick?: number }): number {
  return Number(INTERLEAVINGS_SECONDS ?? (IS_LONG_RUN ? long : quick)) * 1_000;
}

export const IS_LONG = INTERLEAVINGS_SECONDS !== undefined;

/** Whether a test tries as much as fits into its time, and not a fixed number. */
export const IS_TIMED = IS_LONG || IS_LONG_RUN;

export const SEED: { seed?: number } = INTERLEAVINGS_SEED === undefined ? {} : { seed: Number(INTERLEAVINGS_SEED) };

export const MARGIN_MS = 60_000;
