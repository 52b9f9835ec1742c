/**
 * The result of one benchmark. Every figure that matters is a ratio to a peer or to a limit,
 * measured in the same run.
 */
export interface Finding {
  what: string;
  /** Our value of each round. */
  ours: number[];
  unit: string;
  /** The peer or limit, measured in the same rounds. Absent for a figure with a fixed budget. */
  peer?: { name: string; values: number[] };
  /** Sentences that tell where the time goes. */
  notes?: string[];
  budget: string;
}

export interface Benchmark {
  name: string;
  describe: string;
  run(progress: (text: string) => void): Promise<Finding[]>;
}

/**
 * The rounds of a benchmark. The noise of a machine is larger than most differences, so a figure is
 * the median over rounds.
 */
export const ROUNDS = Number.parseInt(process.env.BENCH_ROUNDS ?? '5', 10);

export function median(values: number[]): number {
  return percentile(values, 0.5);
}

/** The value below which `fraction` of the values lie. */
export function percentile(values: number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

export function print(findings: Finding[]): void {
  for (const { what, ours, unit, peer, notes = [], budget } of findings) {
    console.log(`\n${what}`);
    console.log(`  ours    ${spread(ours)} ${unit}`);
    if (peer !== undefined) {
      console.log(`  ${peer.name}    ${spread(peer.values)} ${unit}`);
      const ratios = ours.map((value, round) => value / (peer.values[round] ?? Number.NaN));
      console.log(
        `  ratio   ${median(ratios).toFixed(2)}  (each round's: ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})`,
      );
    }
    for (const note of notes) console.log(`  ${note}`);
    console.log(`  budget  ${budget}`);
  }
}

function spread(values: number[]): string {
  const digits = median(values) < 100 ? 1 : 0;
  const [low, mid, high] = [Math.min(...values), median(values), Math.max(...values)].map((n) => n.toFixed(digits));
  return `${mid}  (${low} to ${high}, ${values.length} rounds)`;
}
