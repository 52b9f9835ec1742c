import type { Admin, Kafka } from 'kafkajs';
import { waitAfter } from '../async/retry.ts';
import type { Topic } from './bus.ts';
import { connectLazily } from './kafka-connect.ts';
import { PARTITIONS } from './partitions.ts';

/** The topics of one installation. Missing topics are made. */
export interface KafkaTopics {
  name(topic: Topic): string;
  /**
   * The number of partitions. The first answer is kept, so a change of the number needs a restart
   * of every process.
   */
  partitions(topic: Topic): Promise<number>;
  /** The offset of the next message, by partition. */
  ends(topic: Topic): Promise<Map<number, string>>;
  deleteGroups(groups: string[]): Promise<void>;
  /** Resolves when a broker has answered. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

const TOPICS: Topic[] = ['workflows', 'job_logs'];

/**
 * After this many tries, a new topic counts as ready whatever its leaders say. The tries take 0.1 s
 * on an idle broker, and up to 20 s in all.
 */
const LEADER_TRIES_MAX = 10;

export function createKafkaTopics(kafka: Kafka, prefix: string): KafkaTopics {
  const name = (topic: Topic) => `${prefix}${topic}`;
  const admin = connectLazily(() => kafka.admin());
  let counted: Promise<Map<Topic, number>> | undefined;

  function count(): Promise<Map<Topic, number>> {
    counted ??= admin.use(ensureTopics).catch((error: unknown) => {
      counted = undefined;
      throw error;
    });
    return counted;
  }

  async function ensureTopics(client: Admin): Promise<Map<Topic, number>> {
    const there = new Set(await client.listTopics());
    const missing = TOPICS.map(name).filter((topic) => !there.has(topic));
    if (missing.length > 0) {
      // The broker's default decides the replication. Two processes may do this at once: the second
      // one finds the topics made.
      const topics = missing.map((topic) => ({ topic, numPartitions: PARTITIONS, replicationFactor: -1 }));
      await client.createTopics({ topics, waitForLeaders: true });
      for (const topic of missing) await leadersReady(client, topic);
    }
    const { topics } = await client.fetchTopicMetadata({ topics: TOPICS.map(name) });
    return new Map(
      TOPICS.map((topic) => {
        const count = topics.find((found) => found.name === name(topic))?.partitions.length ?? 0;
        if (count === 0) throw new Error(`The Kafka topic ${name(topic)} has no partitions yet.`);
        return [topic, count];
      }),
    );
  }

  return {
    name,

    async partitions(topic) {
      return (await count()).get(topic) ?? PARTITIONS;
    },

    async ends(topic) {
      const offsets = await admin.use((client) => client.fetchTopicOffsets(name(topic)));
      return new Map(offsets.map(({ partition, high }) => [partition, high]));
    },

    async deleteGroups(groups) {
      await admin.use((client) => client.deleteGroups(groups));
    },

    async ping() {
      await admin.use((client) => client.listTopics());
    },

    close: admin.close,
  };
}

/**
 * Waits until every leader accepts requests. A leader refuses its partition for a moment after it
 * was named, and a batch that was refused in part would be sent twice.
 */
async function leadersReady(admin: Admin, topic: string): Promise<void> {
  for (let tries = 1; tries <= LEADER_TRIES_MAX; tries += 1) {
    const ready = await admin.fetchTopicOffsets(topic).then(
      () => true,
      () => false,
    );
    if (ready) return;
    await waitAfter(tries, { minMs: 50, maxMs: 2_000 });
  }
}
