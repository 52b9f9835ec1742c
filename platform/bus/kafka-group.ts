import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import { defaultDeadline } from '../async/deadline.ts';
import type { Bus, Closable } from './bus.ts';
import { createCommits } from './kafka-commits.ts';
import { createLastingConsumer } from './kafka-consumer.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import { batchLength, createPartitionRunner } from './partition-runner.ts';

/**
 * How long the broker holds a fetch that finds nothing. A message ends the fetch, so this does not
 * delay messages. It delays a resumed partition, and a rebalance.
 */
const FETCH_WAIT_MS = 200;
const FETCH_BYTES_PER_PARTITION = 1024 * 1024;
const FETCH_BYTES_MAX = 8 * 1024 * 1024;
/**
 * How much of a partition waits here behind its running handler. With more, the partition is
 * paused, and the backlog stays in Kafka.
 */
const AHEAD_BYTES_MAX = 1024 * 1024;
const AHEAD_MESSAGES_MAX = 1_000;

interface Entry {
  value: Buffer;
  offset: string;
}

interface Ahead {
  entries: Entry[];
  bytes: number;
  paused: boolean;
  /** The first offset that was not fetched yet. */
  next: string;
}

/**
 * A member of a group. The fetch loop of kafkajs waits for all batches of a fetch before it fetches
 * again, so one slow handler would hold up every partition. So batches are handed over at once, and
 * a partition is paused while enough of it waits. The loop goes on and sends the heartbeats, so a
 * handler may take an hour.
 */
export function joinKafkaGroup(
  { kafka, topics, prefix, log }: { kafka: Kafka; topics: KafkaTopics; prefix: string; log: Logger },
  { topic, group, concurrency, finishes, onBatch }: Parameters<Bus['consume']>[0],
): Closable & { joined: Promise<void> } {
  const topicName = topics.name(topic);
  const ahead = new Map<number, Ahead>(); // our partitions, once they were fetched
  const commits = createCommits(topicName, log);
  let member: Consumer | undefined;

  const runner = createPartitionRunner<Entry>({
    concurrency,
    finishes,
    onBatch,
    log,
    what: `Handling of ${topic} by ${group}`,
    source: {
      take(partition) {
        const waiting = ahead.get(partition);
        if (waiting === undefined) return [];
        const batch = waiting.entries.splice(0, batchLength(waiting.entries));
        waiting.bytes -= batch.reduce((sum, { value }) => sum + value.length, 0);
        setPaused(partition, waiting);
        return batch;
      },
      handled(partition, batch) {
        const last = batch.at(-1);
        if (last !== undefined && ahead.has(partition)) commits.add(partition, offsetAfter(last.offset));
      },
      putBack() {
        // The handler gave up because the partition is lost or we close. The batch was not
        // committed, so the partition's next owner fetches it.
      },
    },
  });

  function setPaused(partition: number, waiting: Ahead): void {
    const full = waiting.bytes >= AHEAD_BYTES_MAX || waiting.entries.length >= AHEAD_MESSAGES_MAX;
    if (full === waiting.paused) return;
    waiting.paused = full;
    const place = [{ topic: topicName, partitions: [partition] }];
    if (full) member?.pause(place);
    else member?.resume(place);
  }

  function lose(partition: number): void {
    runner.drop(partition);
    commits.forget(partition);
    if (ahead.get(partition)?.paused) member?.resume([{ topic: topicName, partitions: [partition] }]);
    ahead.delete(partition);
  }

  function onJoin(consumer: Consumer, partitions: number[]): void {
    member = consumer;
    commits.use(consumer);
    for (const partition of [...ahead.keys()].filter((held) => !partitions.includes(held))) lose(partition);
    // A join starts at the committed offsets. Kept entries continue behind the last fetched one.
    for (const [partition, { next }] of ahead) consumer.seek({ topic: topicName, partition, offset: next });
  }

  function onFetched({ batch, resolveOffset, isRunning, isStale }: EachBatchPayload): void {
    if (!isRunning() || isStale()) return;
    const { partition } = batch;
    const waiting = ahead.get(partition) ?? { entries: [], bytes: 0, paused: false, next: '0' };
    ahead.set(partition, waiting);
    for (const { value, offset } of batch.messages) {
      if (value === null) continue; // not one of our messages
      waiting.entries.push({ value, offset });
      waiting.bytes += value.length;
    }
    resolveOffset(batch.lastOffset()); // fetched, not committed
    waiting.next = offsetAfter(batch.lastOffset());
    setPaused(partition, waiting);
    runner.wake(partition);
  }

  const consumer = createLastingConsumer({
    kafka,
    topics,
    topic,
    fromBeginning: true,
    config: () => ({
      groupId: `${prefix}${group}`,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytesPerPartition: FETCH_BYTES_PER_PARTITION,
      maxBytes: FETCH_BYTES_MAX,
    }),
    log,
    what: `Consuming ${topicName} as ${group}`,
    events: {
      onJoin,
      onBatch: onFetched,
      onCrash: () => {
        member = undefined;
        commits.use(undefined);
        for (const partition of [...ahead.keys()]) lose(partition);
      },
    },
  });

  return {
    joined: consumer.joined,
    async close(deadline = defaultDeadline()) {
      await runner.close(deadline);
      await consumer.close(deadline, () => commits.flush());
    },
  };
}

function offsetAfter(offset: string): string {
  return String(BigInt(offset) + 1n);
}
