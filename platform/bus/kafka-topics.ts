import type { Admin, Kafka } from 'kafkajs';
import { waitAfter } from '../async/retry.ts';
import type { Topic } from './bus.ts';
import { connectLazily } from './kafka-connect.ts';
import { PARTITIONS } from './partitions.ts';

/** The topics of one installation, made when they are missing. */
export interface KafkaTopics {
  name(topic: Topic): string;
  /**
   * How many partitions it has. The first answer is kept: a change of the number needs a restart of
   * every process.
   */
  partitions(topic: Topic): Promise<number>;
  /** The offset that the next message of each partition gets, by partition. */
  ends(topic: Topic): Promise<Map<number, string>>;
  deleteGroups(groups: string[]): Promise<void>;
  /** Resolves when a broker has answered. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

const TOPICS: Topic[] = ['workflows', 'job_logs'];

/**
 * Tries before a new topic is taken for ready whatever its leaders say; 0.1 s on an idle broker, up
 * to 20 s in all.
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
      // Replicated as the broker's default says. Two processes may do this at once: the second
      // finds them made.
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
 * A leader that is named already refuses its part for a moment more, and a batch that it refused in
 * part would be sent twice.
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
