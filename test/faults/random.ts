/** Reproducible random numbers: the run prints the seed, and FAULTS_SEED repeats it. */
const seed = Number(process.env.FAULTS_SEED ?? Math.floor(Math.random() * 2 ** 31));
if (!Number.isInteger(seed)) throw new Error('FAULTS_SEED has to be a whole number, as a run prints it.');

/**
 * Random numbers from 0 up to 1. Each `purpose` has its own sequence, so that concurrent tests do
 * not affect each other's numbers.
 */
export function randomOf(purpose: string): () => number {
  console.info(`${purpose}: FAULTS_SEED=${seed} gives these random instants again`);
  let state = seed;
  for (const character of purpose) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0; // mulberry32
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
