import type { Logger } from 'pino';
import { tlsAdvice } from '../../domain/network/tls-advice.ts';
import { unlessAborted } from '../async/abort.ts';
import { defaultDeadline, settledBefore, settledWithin } from '../async/deadline.ts';
import { retry } from '../async/retry.ts';
import type { Bus, BusMessage, Closable, Topic } from './bus.ts';
import { createKafkaClient, type KafkaAddress } from './kafka-client.ts';
import { joinKafkaGroup } from './kafka-group.ts';
import { KafkaAdvice } from './kafka-outage.ts';
import { createKafkaProducer, type Placed } from './kafka-producer.ts';
import { followKafkaTopic } from './kafka-tail.ts';
import { createKafkaTopics } from './kafka-topics.ts';
import { partitionFor } from './partitions.ts';

const RETRIES = 5; // about 2 s, which hides a leader that moves
/**
 * About a minute. A consumer that survives a restart of the broker stays the same member. A new
 * consumer waits until the session of the old one ends. Measured: the first message arrives 2.5 s
 * after the broker answers, instead of 13 s.
 */
const CONSUMER_RETRIES = 60;
const HEALTH_RETRIES = 1; // the first try finds a dead connection, the second makes a new one
const UP_MS_MAX = 2_000;
const TOPICS_MS_MAX = 5_000;
/** While a broker is away, the client waits for each request to fail. */
const DISCONNECT_MS_MAX = 3_000;

/**
 * The bus on Kafka. It also starts without the broker. Until the broker is there, `consume` waits,
 * and `publish` and `watch` reject.
 */
export async function createKafkaBus({
  topicPrefix: prefix,
  log,
  ...address
}: KafkaAddress & { topicPrefix: string; log: Logger }): Promise<Bus> {
  const client = createKafkaClient(address, log, RETRIES);
  const consumerClient = createKafkaClient(address, log, CONSUMER_RETRIES);
  const healthClient = createKafkaClient(address, log, HEALTH_RETRIES);
  const topics = createKafkaTopics(client.kafka, prefix);
  const health = createKafkaTopics(healthClient.kafka, prefix);
  const producer = createKafkaProducer(client.kafka);
  const parts = { kafka: consumerClient.kafka, topics, prefix, log };
  const opened = new Set<Closable>();
  const closing = new AbortController();
  // A random start, so that processes that publish little do not all use partition 0.
  let turn = Math.floor(Math.random() * 1_000);

  function place({ key, value }: BusMessage, partitions: number): Placed {
    if (key !== undefined) return { partition: partitionFor(key, partitions), value };
    turn += 1;
    return { partition: turn % partitions, value };
  }

  function refuseWhenClosed(): void {
    if (closing.signal.aborted) throw new Error('The bus is closed.');
  }

  /** Keeps `made` until its owner or the bus closes it. */
  function remember<C extends Closable>(made: C): C {
    opened.add(made);
    return {
      ...made,
      close: async (deadline) => {
        opened.delete(made);
        await made.close(deadline);
      },
    };
  }

  /** Makes the topics ahead of their first use, as soon as a broker answers. */
  async function prepare(): Promise<void> {
    await retry({ log, what: 'Reaching Kafka', signal: closing.signal }, async () => {
      try {
        await topics.partitions('workflows');
      } catch (error) {
        throw withAdvice(error, address);
      }
    }).catch(unlessAborted(closing.signal));
  }

  const preparing = prepare();
  await settledWithin(preparing, TOPICS_MS_MAX);

  return {
    embedded: false,

    async publish(topic, messages) {
      refuseWhenClosed();
      if (messages.length === 0) return;
      const partitions = await topics.partitions(topic);
      await producer.send(
        topics.name(topic),
        messages.map((message) => place(message, partitions)),
      );
    },

    async partitionOf(topic: Topic, key: string) {
      return partitionFor(key, await topics.partitions(topic));
    },

    async consume(options) {
      refuseWhenClosed();
      const member = remember(joinKafkaGroup(parts, options));
      await member.joined;
      return member;
    },

    async tail(options) {
      refuseWhenClosed();
      return remember(followKafkaTopic(parts, options));
    },

    async isUp() {
      if (closing.signal.aborted) return false;
      return settledWithin(health.ping(), UP_MS_MAX).catch(() => false);
    },

    async close(deadline = defaultDeadline()) {
      closing.abort();
      await Promise.all([...opened].map((made) => made.close(deadline)));
      opened.clear();
      const ends = Promise.allSettled([producer.close(), topics.close(), health.close(), preparing]);
      if (!(await settledBefore(ends, AbortSignal.any([deadline, AbortSignal.timeout(DISCONNECT_MS_MAX)]))))
        log.debug('Connections to Kafka did not end in good order.');
      for (const { destroy } of [client, consumerClient, healthClient]) destroy();
    },
  };
}

/** Adds what a person can do, if the fault is in the connection and not in the broker. */
function withAdvice(error: unknown, { brokers, tls, sasl }: KafkaAddress): unknown {
  const advice = tlsAdvice(error, 'KAFKA') ?? saslAdvice(error);
  if (advice !== undefined)
    return new KafkaAdvice(`Kafka at ${brokers.join(', ')} cannot be used. ${advice}`, { cause: error });
  if (tls !== undefined && sasl !== undefined) return error;
  const unset = [...(tls === undefined ? ['KAFKA_TLS'] : []), ...(sasl === undefined ? ['KAFKA_SASL_USERNAME'] : [])];
  const hint = `Where it is up and wants TLS or a password, set ${unset.join(' and ')}.`;
  return new KafkaAdvice(`Kafka at ${brokers.join(', ')} does not answer as it should. ${hint}`, { cause: error });
}

function saslAdvice(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name !== 'KafkaJSSASLAuthenticationError') return saslAdvice(error.cause);
  return 'It refuses our user, password or mechanism: check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.';
}
