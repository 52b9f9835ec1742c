import type { Kafka, Message } from 'kafkajs';
import { withDeadline } from '../async/deadline.ts';
import { connectLazily } from './kafka-connect.ts';
import { KafkaSilent } from './kafka-outage.ts';

/** Sends messages whose partition is already chosen. */
export interface KafkaProducer {
  /**
   * Resolves when the brokers have written the messages. Rejects when that took too long. The
   * brokers may still write them later.
   */
  send(topic: string, messages: Placed[]): Promise<void>;
  close(): Promise<void>;
}

export interface Placed {
  partition: number;
  value: Buffer;
}

/**
 * A broker refuses a batch of a partition over 1 MiB (message.max.bytes). A whole request may be
 * for one partition.
 */
const REQUEST_BYTES_MAX = 768 * 1024;
const REQUEST_MESSAGES_MAX = 5_000;
/** The bytes that wait for the brokers' answer. With more, publish rejects. */
const WAITING_BYTES_MAX = 128 * 1024 * 1024;
const SEND_MS_MAX = 20_000;
const late = () => new KafkaSilent(`Kafka has not answered within ${SEND_MS_MAX} ms.`);

interface Waiting {
  messages: Placed[];
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Sends a lone message at once. While its request is under way, further messages of the topic
 * gather, and the next request takes them together. So requests grow under load, and no message
 * waits for others. No message overtakes another of its partition, even if one is sent again.
 */
export function createKafkaProducer(kafka: Kafka): KafkaProducer {
  const queues = new Map<string, { waiting: Waiting[]; sending: boolean }>();
  let waitingBytes = 0;
  const producer = connectLazily(() =>
    kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner:
        () =>
        ({ message }) =>
          message.partition ?? 0,
    }),
  );

  function enqueue(topic: string, messages: Placed[]): Promise<void> {
    if (waitingBytes > WAITING_BYTES_MAX) {
      return Promise.reject(new KafkaSilent(`More than ${WAITING_BYTES_MAX} bytes wait to be sent to Kafka.`));
    }
    waitingBytes += bytesOf(messages);
    const queue = queues.get(topic) ?? { waiting: [], sending: false };
    queues.set(topic, queue);
    return new Promise((resolve, reject) => {
      queue.waiting.push({ messages, resolve, reject });
      if (!queue.sending) void sendAll(topic, queue);
    });
  }

  async function sendAll(topic: string, queue: { waiting: Waiting[]; sending: boolean }): Promise<void> {
    queue.sending = true;
    while (queue.waiting.length > 0) {
      const parts = queue.waiting.splice(0, requestLength(queue.waiting));
      const messages = parts.flatMap((part) => part.messages);
      try {
        await withDeadline(request(topic, messages), SEND_MS_MAX, late);
        for (const part of parts) part.resolve();
      } catch (error) {
        for (const part of parts) part.reject(error);
      }
      waitingBytes -= bytesOf(messages);
    }
    queue.sending = false;
  }

  async function request(topic: string, messages: Message[]): Promise<void> {
    await producer.use((client) => client.send({ topic, acks: -1, messages }));
  }

  return {
    async send(topic, messages) {
      await Promise.all(slices(messages).map((slice) => enqueue(topic, slice)));
    },

    close: producer.close,
  };
}

function bytesOf(messages: Placed[]): number {
  return messages.reduce((sum, { value }) => sum + value.length, 0);
}

/** How many waiting entries fit into one request, at least one. */
function requestLength(waiting: Waiting[]): number {
  let bytes = 0;
  let count = 0;
  for (const [n, { messages }] of waiting.entries()) {
    bytes += bytesOf(messages);
    count += messages.length;
    if (bytes > REQUEST_BYTES_MAX || count > REQUEST_MESSAGES_MAX) return Math.max(1, n);
  }
  return waiting.length;
}

/** Cuts `messages` into pieces that fit into a request. A larger message is a piece of its own. */
function slices(messages: Placed[]): Placed[][] {
  const made: Placed[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    bytes += message.value.length;
    const last = made.at(-1);
    if (last === undefined || bytes > REQUEST_BYTES_MAX || last.length >= REQUEST_MESSAGES_MAX) {
      made.push([message]);
      bytes = message.value.length;
    } else {
      last.push(message);
    }
  }
  return made;
}
