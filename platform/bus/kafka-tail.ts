import { randomUUID } from 'node:crypto';
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import { defaultDeadline, settledBefore } from '../async/deadline.ts';
import type { Bus, Tail } from './bus.ts';
import { createLastingConsumer, type LastingConsumer } from './kafka-consumer.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import { partitionFor } from './partitions.ts';

/**
 * A resumed partition waits this long behind a fetch of other partitions. So does the first line of
 * a new subscriber.
 */
const FETCH_WAIT_MS = 50;
const FETCH_BYTES_PER_PARTITION = 1024 * 1024;
const FETCH_BYTES_MAX = 8 * 1024 * 1024;

interface Watched {
  count: number;
  /** The next offset to read. Undefined until the end of the partition is known. */
  next: string | undefined;
  opened: Promise<void>;
}

/**
 * Follows partitions from their end on. kafkajs has no consumer without a group, so each process
 * makes a group of its own at the first watch. It never commits, and seeks to the offsets that it
 * keeps here.
 */
export function followKafkaTopic(
  { kafka, topics, prefix, log }: { kafka: Kafka; topics: KafkaTopics; prefix: string; log: Logger },
  { topic, onMessage, onGap }: Parameters<Bus['tail']>[0],
): Tail {
  const topicName = topics.name(topic);
  const watched = new Map<number, Watched>();
  const groups: string[] = [];
  let member: Consumer | undefined;
  let consumer: LastingConsumer | undefined;
  let crashed = false;

  function start(): LastingConsumer {
    return createLastingConsumer({
      kafka,
      topics,
      topic,
      fromBeginning: false,
      config: () => {
        // A new name each time. With the old name, the broker would let it wait for the session of
        // the consumer that crashed.
        const groupId = `${prefix}tail-${topic}-${randomUUID()}`;
        groups.push(groupId);
        return {
          groupId,
          maxWaitTimeInMs: FETCH_WAIT_MS,
          minBytes: 1,
          maxBytesPerPartition: FETCH_BYTES_PER_PARTITION,
          maxBytes: FETCH_BYTES_MAX,
        };
      },
      log,
      what: `Following ${topicName}`,
      events: { onJoin, onBatch: onFetched, onCrash },
    });
  }

  function onJoin(joined: Consumer, partitions: number[]): void {
    member = joined;
    joined.pause([{ topic: topicName, partitions }]);
    for (const [partition, { next }] of watched) if (next !== undefined) resumeAt(partition, next);
    // It does not see messages that were deleted meanwhile, or that a broker lost.
    if (crashed) onGap();
    crashed = false;
  }

  function onCrash(): void {
    member = undefined;
    crashed = true;
  }

  function resumeAt(partition: number, offset: string): void {
    member?.seek({ topic: topicName, partition, offset });
    member?.resume([{ topic: topicName, partitions: [partition] }]);
  }

  function onFetched({ batch, resolveOffset, isRunning, isStale }: EachBatchPayload): void {
    const state = watched.get(batch.partition);
    if (state === undefined || !isRunning() || isStale()) return;
    for (const { value } of batch.messages) {
      if (value !== null) deliver(value);
    }
    resolveOffset(batch.lastOffset());
    state.next = String(BigInt(batch.lastOffset()) + 1n);
  }

  function deliver(value: Buffer): void {
    try {
      onMessage(value);
    } catch (error) {
      log.error({ err: error }, 'A follower of the bus threw at a message, which is skipped.');
    }
  }

  /** Once the end is known, every later message is read, even if the consumer is made later. */
  async function openAtEnd(partition: number, state: Watched): Promise<void> {
    consumer ??= start();
    state.next = (await topics.ends(topic)).get(partition) ?? '0';
    if (watched.get(partition) === state) resumeAt(partition, state.next);
  }

  function release(partition: number): void {
    const state = watched.get(partition);
    if (state === undefined) return;
    state.count -= 1;
    if (state.count > 0) return;
    watched.delete(partition);
    member?.pause([{ topic: topicName, partitions: [partition] }]);
  }

  const partitionOf = async (key: string) => partitionFor(key, await topics.partitions(topic));

  return {
    async watch(key) {
      const partition = await partitionOf(key);
      let state = watched.get(partition);
      if (state === undefined) {
        state = { count: 0, next: undefined, opened: Promise.resolve() };
        watched.set(partition, state);
        state.opened = openAtEnd(partition, state);
      }
      state.count += 1;
      try {
        await state.opened; // no need to wait for the join: it starts from here
      } catch (error) {
        release(partition);
        throw error;
      }
    },

    unwatch(key) {
      partitionOf(key).then(release, (error) => log.debug({ err: error }, 'A partition was not watched.'));
    },

    async close(deadline = defaultDeadline()) {
      watched.clear();
      await consumer?.close(deadline);
      if (groups.length === 0) return;
      // Nothing is committed in these groups, so the broker also forgets them by itself, later.
      const deleted = topics
        .deleteGroups(groups)
        .catch((error) => log.debug({ err: error }, 'A group was not deleted.'));
      await settledBefore(deleted, deadline);
    },
  };
}
