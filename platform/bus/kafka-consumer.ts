import type { Consumer, ConsumerConfig, EachBatchPayload, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import { settledBefore, settledWithin } from '../async/deadline.ts';
import { createBackoff } from '../async/retry.ts';
import type { Topic } from './bus.ts';
import type { KafkaTopics } from './kafka-topics.ts';

/** A consumer that is built again whenever it crashed or got stuck, until it is closed. */
export interface LastingConsumer {
  /** Resolves at the first join, however long the broker stays away; rejects when closed before. */
  joined: Promise<void>;
  /**
   * Leaves the group, or stops waiting for that at the deadline. `beforeLeave` runs while the
   * member can still commit.
   */
  close(deadline: AbortSignal, beforeLeave?: () => Promise<void>): Promise<void>;
}

export interface ConsumerEvents {
  /**
   * At each join and rebalance, before anything is fetched. `partitions` are all that this member
   * has now.
   */
  onJoin(consumer: Consumer, partitions: number[]): void;
  /** The consumer is gone, and its partitions with it; another is being made. */
  onCrash(): void;
  onBatch(payload: EachBatchPayload): void;
}

interface Death {
  happens: Promise<void>;
  /** It has happened: events of this consumer no longer count. */
  over: boolean;
  forget(): void;
}

// A member that was killed holds its partitions for so long; no broker allows less by default.
const SESSION_MS = 6_000;
const HEARTBEAT_MS = 2_000;
/**
 * The fetch loop never waits for a handler here, so that a consumer without a fetch for so long is
 * stuck.
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
   * Of each consumer that is made: one that must not wait for its predecessor's session to end
   * takes another group.
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
  joined.catch(() => {}); // a caller that waits sees the rejection, and there may be none
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

  /** One consumer's life: resolves when it is closed, rejects when it crashed. */
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
      partitionsConsumedConcurrently: 1, // batches are only handed over, which takes no time
      eachBatch: async (payload) => {
        if (!death.over) events.onBatch(payload);
      },
    });
    // It has joined after all: the first disconnect came too early for it.
    if (death.over) await disconnect(consumer);
  }

  /** Resolves at close, rejects at a crash or when nothing has been fetched for too long. */
  function watch(consumer: Consumer): Death {
    let quietMs = 0;
    let die = (_: Error) => {};
    let end = () => {};
    const happens = new Promise<void>((resolve, reject) => {
      end = resolve;
      die = reject;
    });
    happens.catch(() => {}); // it may die while it connects, which fails by itself then
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
      // Counted, so that a process that was paused for long does not count as stuck.
      quietMs += STUCK_LOOK_MS;
      if (quietMs >= STUCK_MS) die(new Error(`The consumer has fetched nothing for ${STUCK_MS} ms.`));
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
      // A consumer that is still connecting ends by itself within the client's bounds; nobody waits
      // for it.
      if (current === undefined) reportClosed(new Error('The bus is closed.'));
      else await settledBefore(ended, deadline);
    },
  };
}
