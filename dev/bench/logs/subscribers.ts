import { setTimeout as delay } from 'node:timers/promises';
import { createDemoClient, type DemoClient } from '../../../bin/demo-client.ts';
import type { Finding } from '../harness.ts';
import { ASK_MS, type System, startJob, textBatch } from './system.ts';

const NOW_AND_THEN_LINES = 30;
const PRINT_NOW_AND_THEN = ['sh', '-c', `for i in $(seq ${NOW_AND_THEN_LINES}); do echo $i; sleep 1; done`];
const SUBSCRIBERS = 1_000;
/**
 * After so many subscribers, the api has compiled the code that it runs. The later ones add only
 * the memory that they need themselves.
 */
const FIRST_SUBSCRIBERS = 100;
const KB = 1_024;

/**
 * Measures the memory per subscriber. Each one has its own socket, and the job prints one line per
 * second.
 */
export async function measureSubscribers(system: System, progress: (text: string) => void): Promise<Finding> {
  const { api } = system.processes;
  const id = await startJob(system, PRINT_NOW_AND_THEN);
  const clients = Array.from({ length: SUBSCRIBERS }, () => createDemoClient(api.url, system.token));
  const started = new Set<DemoClient>();
  const follow = async (client: DemoClient) => {
    let last = 0;
    const subscription = 'subscription ($id: ID!) { jobLogs(jobId: $id) { text lastNumber } }';
    for await (const { jobLogs } of client.subscribe(subscription, { id }, textBatch)) {
      last = jobLogs.lastNumber;
      started.add(client);
    }
    return last;
  };
  const ends: Promise<number>[] = [];
  const subscribe = async (count: number) => {
    ends.push(...clients.slice(ends.length, ends.length + count).map(follow));
    while (started.size < ends.length) await delay(ASK_MS);
    return api.neededBytes();
  };
  const before = await subscribe(FIRST_SUBSCRIBERS);
  const more = SUBSCRIBERS - FIRST_SUBSCRIBERS;
  const each = ((await subscribe(more)) - before) / more / KB;
  const whole = (await Promise.all(ends)).filter((last) => last === NOW_AND_THEN_LINES).length;
  if (whole !== SUBSCRIBERS) throw new Error(`${whole} of ${SUBSCRIBERS} subscribers were given all lines.`);
  await Promise.all(clients.map((client) => client.close()));
  progress(`${SUBSCRIBERS} subscribers: ${each.toFixed(1)} KB each`);
  return {
    what: `memory that the api needs for each of ${SUBSCRIBERS} subscribers to one job, its socket included`,
    ours: [each],
    unit: 'KB',
    budget: '20 KB',
  };
}
