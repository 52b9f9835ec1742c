import { IS_LONG_RUN } from '../support/run-length.ts';

/**
 * INTERLEAVINGS_SECONDS makes a longer run by hand. INTERLEAVINGS_SEED is the seed that a failed
 * random run has printed; it repeats that run.
 */
const { INTERLEAVINGS_SECONDS, INTERLEAVINGS_SEED } = process.env;

/**
 * The time in which a test begins new orders, unless INTERLEAVINGS_SECONDS says otherwise. The test
 * completes the order that it has begun.
 */
export function runMs({ long, quick = long }: { long: number; quick?: number }): number {
  return Number(INTERLEAVINGS_SECONDS ?? (IS_LONG_RUN ? long : quick)) * 1_000;
}

export const IS_LONG = INTERLEAVINGS_SECONDS !== undefined;

/** Whether a test tries as many orders as its time allows, and not a fixed number. */
export const IS_TIMED = IS_LONG || IS_LONG_RUN;

export const SEED: { seed?: number } = INTERLEAVINGS_SEED === undefined ? {} : { seed: Number(INTERLEAVINGS_SEED) };

export const MARGIN_MS = 60_000;

/** More than any machine does. */
export const RUNS_PER_SECOND_MAX = 100;
