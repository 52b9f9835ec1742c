import { setTimeout as delay } from 'node:timers/promises';
import pino from 'pino';
import { jobs } from '../../../db/schema.ts';
import { newId } from '../../../domain/ids.ts';
import { encodeChunks } from '../../../domain/logs/chunk.ts';
import { formatLine } from '../../../domain/logs/encode.ts';
import { packLines } from '../../../domain/logs/packing.ts';
import { createKafkaBus } from '../../../platform/bus/kafka.ts';
import type { Finding } from '../harness.ts';
import { type System, textBatch } from './system.ts';

const OTHER_JOBS = 100;
const WATCH_SECONDS = 10;

/**
 * Measures the CPU of an api while 100 other jobs each print 10 lines per second. The benchmark
 * publishes these lines itself, as a worker would; a hundred containers would mainly load the
 * engine.
 */
export async function measureOthers(system: System, progress: (text: string) => void): Promise<Finding[]> {
  const { database, client, userId, processes } = system;
  const bus = await createKafkaBus({
    brokers: (process.env.KAFKA_BROKERS ?? '').split(','),
    topicPrefix: system.topicPrefix,
    clientId: 'chronoverse-bench',
    log: pino({ level: 'silent' }),
  });
  const others = Array.from({ length: OTHER_JOBS }, () => newId());
  const watched = Array.from({ length: 10 }, () => newId());
  for (const id of [...others, ...watched])
    await database.db.insert(jobs).values({
      id,
      workflowId: newId(),
      userId,
      kind: 'CONTAINER',
      trigger: 'MANUAL',
      status: 'RUNNING',
      generation: 1,
      attempt: 1,
      scheduledAt: new Date(),
      startedAt: new Date(),
      leaseToken: newId(),
      leaseOwner: 'bench',
      leaseExpiresAt: new Date(Date.now() + 3_600_000),
    });
  const numbers = new Map(others.map((id) => [id, 0]));
  const stop = new AbortController();
  const printing = (async () => {
    while (!stop.signal.aborted) {
      for (const id of others) {
        const number = (numbers.get(id) ?? 0) + 1;
        numbers.set(id, number);
        const lines = await packLines(Buffer.from(formatLine('STDOUT', new Date().toISOString(), 'one line')));
        await bus.publish('job_logs', [
          {
            key: id,
            value: encodeChunks([{ sourceId: id, attempt: 1, firstNumber: number, lastNumber: number, lines }]),
          },
        ]);
      }
      await delay(10);
    }
  })();
  const findings: Finding[] = [];
  const subscriptions: AsyncGenerator<unknown>[] = [];
  try {
    for (const subscribers of [0, watched.length]) {
      for (const id of watched.slice(0, subscribers)) {
        const subscription = client.subscribe(
          'subscription ($id: ID!) { jobLogs(jobId: $id) { text lastNumber } }',
          { id },
          textBatch,
        );
        subscriptions.push(subscription);
        // Nothing arrives; the bench stops it below.
        void subscription.next().catch(() => undefined);
      }
      await delay(2_000);
      const linesBefore = sum(numbers);
      const before = await processes.api.cpuSeconds();
      await delay(WATCH_SECONDS * 1_000);
      const share = (100 * ((await processes.api.cpuSeconds()) - before)) / WATCH_SECONDS;
      progress(`${subscribers} subscribers: ${share.toFixed(1)} % of a core`);
      findings.push({
        what: `CPU of an api with ${subscribers} subscribers while ${OTHER_JOBS} other jobs print ${((sum(numbers) - linesBefore) / WATCH_SECONDS).toFixed(0)} lines a second`,
        ours: [share],
        unit: '% of a core',
        budget: 'none of its own: it follows the subscribers, not what is printed',
      });
    }
    return findings;
  } finally {
    stop.abort();
    await printing;
    await bus.close();
  }
}

function sum(numbers: Map<string, number>): number {
  return [...numbers.values()].reduce((total, n) => total + n, 0);
}
