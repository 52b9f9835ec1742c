import type { Consumer, ConsumerConfig, EachBatchPayload, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import { settledBefore, settledWithin } from '../async/deadline.ts';
import { createBackoff } from '../async/retry.ts';
import type { Topic } from './bus.ts';
import { KafkaSilent } from './kafka-outage.ts';
import type { KafkaTopics } from './kafka-topics.ts';

/** A consumer that is built again after each crash, and when it is stuck, until it is closed. */
export interface LastingConsumer {
  /** Resolves at the first join, however long the broker stays away. Rejects if closed before. */
  joined: Promise<void>;
  /**
   * Leaves the group, or stops waiting for that at the deadline. `beforeLeave` runs while the
   * member can still commit.
   */
  close(deadline: AbortSignal, beforeLeave?: () => Promise<void>): Promise<void>;
}

export interface ConsumerEvents {
  /**
   * Called at each join and rebalance, before anything is fetched. `partitions` are all the
   * partitions that this member now has.
   */
  onJoin(consumer: Consumer, partitions: number[]): void;
  /** The consumer is gone, and so are its partitions. A new consumer is being made. */
  onCrash(): void;
  onBatch(payload: EachBatchPayload): void;
}

interface Death {
  happens: Promise<void>;
  /** Whether it has happened. Then events of this consumer no longer count. */
  over: boolean;
  forget(): void;
}

// A killed member holds its partitions for this long. By default no broker allows less.
const SESSION_MS = 6_000;
const HEARTBEAT_MS = 2_000;
/**
 * The fetch loop never waits for a handler here. So a consumer that fetches nothing for this long
 * is stuck.
 */
const STUCK_MS = 90_000;
const STUCK_LOOK_MS = 15_000;
const DISCONNECT_MS_MAX = 5_000;

export function createLastingConsumer({
  kafka,
  topics,
  topic,
  config,
  fromBeginning,
  events,
  log,
  what,
}: {
  kafka: Kafka;
  topics: KafkaTopics;
  topic: Topic;
  /**
   * Called for each new consumer. A consumer that must not wait until its predecessor's session
   * ends takes another group.
   */
  config: () => ConsumerConfig;
  fromBeginning: boolean;
  events: ConsumerEvents;
  log: Logger;
  what: string;
}): LastingConsumer {
  const closing = new AbortController();
  const backoff = createBackoff({ log, what });
  let current: Consumer | undefined;
  let beforeLeave: (() => Promise<void>) | undefined;
  let reportJoined = () => {};
  let reportClosed = (_: Error) => {};
  const joined = new Promise<void>((resolve, reject) => {
    reportJoined = resolve;
    reportClosed = reject;
  });
  joined.catch(() => {}); // a caller that waits sees the rejection; there may be none
  const ended = loop();

  async function loop(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await topics.partitions(topic);
        await live();
      } catch (error) {
        events.onCrash();
        await backoff.wait(error, closing.signal);
      }
    }
    reportClosed(new Error('The bus is closed.'));
  }

  /** One consumer's life. Resolves at close, and rejects after a crash. */
  async function live(): Promise<void> {
    const consumer = kafka.consumer({ sessionTimeout: SESSION_MS, heartbeatInterval: HEARTBEAT_MS, ...config() });
    const death = watch(consumer);
    try {
      await Promise.race([start(consumer, death), death.happens]);
      await death.happens;
      await beforeLeave?.();
    } finally {
      current = undefined;
      death.forget();
      await disconnect(consumer);
    }
  }

  async function start(consumer: Consumer, death: Death): Promise<void> {
    await consumer.connect();
    await consumer.subscribe({ topics: [topics.name(topic)], fromBeginning });
    if (death.over) return;
    current = consumer;
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: 1, // a batch is only handed over, at once
      eachBatch: async (payload) => {
        if (!death.over) events.onBatch(payload);
      },
    });
    // It has joined after all. The first disconnect came too early for it.
    if (death.over) await disconnect(consumer);
  }

  /** Resolves at close. Rejects after a crash, or when nothing has been fetched for too long. */
  function watch(consumer: Consumer): Death {
    let quietMs = 0;
    let die = (_: Error) => {};
    let end = () => {};
    const happens = new Promise<void>((resolve, reject) => {
      end = resolve;
      die = reject;
    });
    happens.catch(() => {}); // it may die while it connects; then the connect fails by itself
    consumer.on(consumer.events.CRASH, ({ payload }) => die(payload.error));
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      if (death.over || closing.signal.aborted) return;
      events.onJoin(consumer, payload.memberAssignment[topics.name(topic)] ?? []);
      reportJoined();
    });
    consumer.on(consumer.events.FETCH, () => {
      quietMs = 0;
      backoff.reset();
    });
    const timer = setInterval(() => {
      // Counts ticks, so that a process that was paused for long does not count as stuck.
      quietMs += STUCK_LOOK_MS;
      if (quietMs >= STUCK_MS) die(new KafkaSilent(`The consumer has fetched nothing for ${STUCK_MS} ms.`));
    }, STUCK_LOOK_MS);
    closing.signal.addEventListener('abort', end, { once: true });
    const death: Death = {
      happens,
      over: false,
      forget: () => {
        death.over = true;
        clearInterval(timer);
        closing.signal.removeEventListener('abort', end);
      },
    };
    return death;
  }

  async function disconnect(consumer: Consumer): Promise<void> {
    try {
      await settledWithin(consumer.disconnect(), DISCONNECT_MS_MAX);
    } catch (error) {
      log.debug({ err: error }, 'A Kafka consumer was not disconnected in good order.');
    }
  }

  return {
    joined,
    async close(deadline, before) {
      beforeLeave ??= before;
      closing.abort();
      // A consumer that is still connecting ends by itself within the client's timeouts. The close
      // does not wait for it.
      if (current === undefined) reportClosed(new Error('The bus is closed.'));
      else await settledBefore(ended, deadline);
    },
  };
}
