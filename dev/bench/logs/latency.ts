import { z } from 'zod';
import { type Finding, percentile } from '../harness.ts';
import { now, toMs } from '../time.ts';
import { type System, startJob } from './system.ts';

const SLOW_LINES = 1_000;
const PRINT_SLOWLY = ['sh', '-c', `i=0; while [ $i -lt ${SLOW_LINES} ]; do i=$((i+1)); echo $i; usleep 9000; done`];

/**
 * Measures the time from the engine's timestamp of a line to its subscriber, at 100 lines per
 * second.
 */
export async function measureLatency(system: System, progress: (text: string) => void): Promise<Finding> {
  const id = await startJob(system, PRINT_SLOWLY);
  const batch = z.object({ jobLogs: z.object({ lines: z.array(z.object({ timestamp: z.string() })) }) });
  const latencies: number[] = [];
  const subscription = 'subscription ($id: ID!) { jobLogs(jobId: $id) { lines { timestamp } } }';
  for await (const { jobLogs } of system.client.subscribe(subscription, { id }, batch)) {
    const at = now();
    for (const { timestamp } of jobLogs.lines) latencies.push(at - toMs(timestamp));
  }
  // The first lines were printed before the subscriber joined.
  const live = latencies.slice(SLOW_LINES / 10);
  progress(`latency over ${live.length} lines: p50 ${percentile(live, 0.5).toFixed(1)} ms`);
  return {
    what: 'from print to subscriber, 100 lines a second: p50, p99',
    ours: [percentile(live, 0.5), percentile(live, 0.99)],
    unit: 'ms (the range is p50 to p99)',
    budget: 'p50 20 ms, p99 100 ms',
  };
}
