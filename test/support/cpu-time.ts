/**
 * The processor's time that some work takes, in milliseconds of the machine that the budgets were
 * measured on: it is divided by how much longer a known loop takes here, so that a slow or busy
 * machine fails no budget. The least of five: others use the machine too.
 */
export function cpuMs(work: () => unknown): number {
  return leastMs(work) / Math.max(1, leastMs(knownLoop) / KNOWN_LOOP_MS);
}

function leastMs(work: () => unknown): number {
  const times = Array.from({ length: 5 }, () => {
    const start = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1_000;
  });
  return Math.min(...times);
}

const KNOWN_LOOP_MS = 12.5;

function knownLoop(): number {
  const counts = new Map<string, number>();
  for (let n = 0; n < 200_000; n++) {
    const key = `${n % 1_009}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts.size;
}
