/** INTERLEAVINGS_SECONDS: for a longer hunt by hand. INTERLEAVINGS_SEED: the seed that a failed random run has printed, to see it again. */
const { INTERLEAVINGS_SECONDS, INTERLEAVINGS_SEED } = process.env;

/** How long a test goes on taking new orders; what it has begun it ends. */
export function runMs(defaultSeconds: number): number {
  return Number(INTERLEAVINGS_SECONDS ?? defaultSeconds) * 1_000;
}

export const IS_LONG = INTERLEAVINGS_SECONDS !== undefined;

export const SEED: { seed?: number } = INTERLEAVINGS_SEED === undefined ? {} : { seed: Number(INTERLEAVINGS_SEED) };

export const MARGIN_MS = 60_000;
