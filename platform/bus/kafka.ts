import type { Logger } from 'pino';
import { tlsAdvice } from '../../domain/network/tls-advice.ts';
import { unlessAborted } from '../async/abort.ts';
import { defaultDeadline, settledBefore, settledWithin } from '../async/deadline.ts';
import { retry } from '../async/retry.ts';
import type { Bus, BusMessage, Closable, Topic } from './bus.ts';
import { createKafkaClient, type KafkaAddress } from './kafka-client.ts';
import { joinKafkaGroup } from './kafka-group.ts';
import { createKafkaProducer, type Placed } from './kafka-producer.ts';
import { followKafkaTopic } from './kafka-tail.ts';
import { createKafkaTopics } from './kafka-topics.ts';
import { partitionFor } from './partitions.ts';

const RETRIES = 5; // about 2 s, so that a broker that moves a leader is not noticed
/**
 * About a minute: a consumer that outlives a restart of the broker is the same member after it,
 * while a new one waits for the session of the old to end (measured: first message 2.5 s instead of
 * 13 s after the broker answers).
 */
const CONSUMER_RETRIES = 60;
const HEALTH_RETRIES = 1; // the first finds out that a connection is gone, the second makes it
const UP_MS_MAX = 2_000;
const TOPICS_MS_MAX = 5_000;
/** Of a broker that is away the client waits for each request to fail. */
const DISCONNECT_MS_MAX = 3_000;

/**
 * The bus on Kafka. It starts without the broker as well: what needs it waits (`consume`) or
 * rejects (`publish`, `watch`) and works as soon as the broker is there.
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
  // So that processes that publish little do not all use partition 0.
  let turn = Math.floor(Math.random() * 1_000);

  function place({ key, value }: BusMessage, partitions: number): Placed {
    if (key !== undefined) return { partition: partitionFor(key, partitions), value };
    turn += 1;
    return { partition: turn % partitions, value };
  }

  function refuseWhenClosed(): void {
    if (closing.signal.aborted) throw new Error('The bus is closed.');
  }

  /** Remembered until it is closed, by its owner or with the bus. */
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

  /** Makes the topics before anybody needs them, as soon as there is a broker. */
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

/** With what a person can do about it, where the link is at fault and not the broker. */
function withAdvice(error: unknown, { brokers, tls, sasl }: KafkaAddress): unknown {
  const advice = tlsAdvice(error, 'KAFKA') ?? saslAdvice(error);
  if (advice !== undefined)
    return new Error(`Kafka at ${brokers.join(', ')} cannot be used. ${advice}`, { cause: error });
  if (tls !== undefined && sasl !== undefined) return error;
  const unset = [...(tls === undefined ? ['KAFKA_TLS'] : []), ...(sasl === undefined ? ['KAFKA_SASL_USERNAME'] : [])];
  const hint = `Where it is up and wants TLS or a password, set ${unset.join(' and ')}.`;
  return new Error(`Kafka at ${brokers.join(', ')} does not answer as it should. ${hint}`, { cause: error });
}

function saslAdvice(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name !== 'KafkaJSSASLAuthenticationError') return saslAdvice(error.cause);
  return 'It refuses our user, password or mechanism: check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.';
}
