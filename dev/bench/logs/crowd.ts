import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Finding } from '../harness.ts';
import { latency, startClients } from '../watchers/clients.ts';
import { ASK_MS, type System, startJob } from './system.ts';

const JOBS = 10;
const SUBSCRIBERS = 1_000;
const CLIENT_PROCESSES = 2;
const MEASURED_MS = 10_000;
/** About 100 lines a second, until the job is canceled. */
const PRINT_ON = ['sh', '-c', 'while true; do echo line; usleep 9000; done'];
const FOLLOW =
  'subscription ($id: ID!, $after: String) { jobLogs(jobId: $id, after: $after) { firstNumber lastNumber cursor lines { timestamp } } }';

/**
 * Measures the time from the engine's timestamp of a line to its subscribers, while ten jobs print
 * and each has a hundred subscribers.
 */
export async function measureCrowd(system: System, progress: (text: string) => void): Promise<Finding> {
  const ids = await Promise.all(Array.from({ length: JOBS }, () => startJob(system, PRINT_ON)));
  const clients = await startClients(CLIENT_PROCESSES);
  try {
    await clients.open({
      kind: 'WEBSOCKET',
      port: Number(new URL(system.processes.api.url).port),
      token: system.token,
      query: FOLLOW,
      variables: ids.map((id) => ({ id })),
      sockets: SUBSCRIBERS,
      perSocket: 1,
    });
    await clients.measure();
    await delay(MEASURED_MS);
    const report = await clients.report();
    if (report.problems > 0) throw new Error(`${report.problems} problems, the first: ${report.firstProblem}`);
    const [p50, p99] = [latency(report, 0.5), latency(report, 0.99)];
    progress(`latency with ${JOBS} jobs and ${SUBSCRIBERS} subscribers: p50 ${p50} ms, p99 ${p99} ms`);
    return {
      what: `from print to ${SUBSCRIBERS.toLocaleString('en')} subscribers of ${JOBS} jobs, 100 lines a second each: p50, p99`,
      ours: [p50, p99],
      unit: 'ms (the range is p50 to p99)',
      budget: 'p50 20 ms, p99 100 ms',
    };
  } finally {
    await clients.close();
    await Promise.all(ids.map((id) => cancel(system, id)));
  }
}

const statusOf = z.object({ job: z.object({ status: z.string() }) });

/** Cancels a job and waits until its container is gone. */
async function cancel({ client }: System, id: string): Promise<void> {
  const document = 'mutation ($id: ID!) { cancelJob(input: { id: $id }) { userErrors { message } } }';
  await client.request(document, { id }, z.object({}));
  for (;;) {
    const { job } = await client.request('query ($id: ID!) { job(id: $id) { status } }', { id }, statusOf);
    if (job.status === 'CANCELED') return;
    await delay(ASK_MS);
  }
}
