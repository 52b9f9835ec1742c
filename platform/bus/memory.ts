import type { Logger } from 'pino';
import { defaultDeadline } from '../async/deadline.ts';
import type { Bus, BusMessage, Tail, Topic } from './bus.ts';
import { createMemoryGroup, type Entry, type MemoryGroup } from './memory-group.ts';
import { createPartitionRunner } from './partition-runner.ts';
import { PARTITIONS, partitionFor } from './partitions.ts';

/**
 * How many messages of `workflows` wait per group and partition. Beyond that, the oldest is
 * dropped, and the sweep finds its rows.
 */
const HINTS_MAX = 2_000;
/**
 * How many bytes of lines wait, in all. Publishers await their publish, so only too many publishers
 * reach this.
 */
const LINES_BYTES_MAX = 128 * 1024 * 1024;
/** How much of the earlier messages the first group of a topic finds. */
const EARLY_MESSAGES_MAX = 1_000;
const EARLY_BYTES_MAX = 4 * 1024 * 1024;

interface TopicState {
  groups: Map<string, MemoryGroup>;
  /** Kept until the first group joins. */
  early: Placed[];
  tails: Set<{ watched: number[]; onMessage: (value: Buffer) => void }>;
  waitingBytes: number;
  turn: number;
}

/**
 * The bus within one process. Its waiting messages are lost with the process. That is harmless,
 * because the rows hold the truth.
 */
export function createMemoryBus({ log }: { log: Logger }): Bus {
  const topics: Record<Topic, TopicState> = { workflows: newTopic(), job_logs: newTopic() };
  const unfinished = new Set<(error: Error) => void>();
  let closed = false;

  function publishHints(topic: TopicState, placed: Placed[]): void {
    for (const [name, group] of topic.groups) {
      const dropped = group.dropped;
      group.push(
        placed.map(({ partition, value }) => ({ partition, value, handled: () => {} })),
        HINTS_MAX,
      );
      if (dropped === 0 && group.dropped > 0) {
        log.warn(
          { group: name, max: HINTS_MAX },
          'Too many events wait; the oldest are dropped, and the sweep finds their rows.',
        );
      }
    }
  }

  /** Resolves when every group has handled every message. */
  function publishLines(topic: TopicState, placed: Placed[]): Promise<void> {
    const bytes = placed.reduce((sum, { value }) => sum + value.length, 0);
    if (topic.waitingBytes + bytes > LINES_BYTES_MAX) {
      return Promise.reject(new Error(`More than ${LINES_BYTES_MAX} bytes of lines wait to be stored.`));
    }
    let left = topic.groups.size * placed.length;
    if (left === 0) return Promise.resolve();
    topic.waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      unfinished.add(reject);
      const handled = () => {
        left -= 1;
        if (left > 0) return;
        topic.waitingBytes -= bytes;
        unfinished.delete(reject);
        resolve();
      };
      for (const group of topic.groups.values()) {
        group.push(placed.map(({ partition, value }) => ({ partition, value, handled })));
      }
    });
  }

  function deliver(topic: TopicState, placed: Placed[]): void {
    for (const tail of topic.tails) {
      for (const { partition, value } of placed) {
        if ((tail.watched[partition] ?? 0) === 0) continue;
        try {
          tail.onMessage(value);
        } catch (error) {
          log.error({ err: error }, 'A follower of the bus threw at a message, which is skipped.');
        }
      }
    }
  }

  return {
    embedded: true,

    async publish(topicName, messages) {
      if (closed) throw closedError();
      const topic = topics[topicName];
      const placed = messages.map((message) => place(topic, message));
      if (topic.groups.size === 0) {
        topic.early = latest([...topic.early, ...placed]);
      }
      const safe = topicName === 'workflows' ? publishHints(topic, placed) : publishLines(topic, placed);
      deliver(topic, placed);
      await safe;
    },

    async partitionOf(_topic, key) {
      return partitionFor(key, PARTITIONS);
    },

    async consume({ topic: topicName, group: groupName, concurrency, finishes, onBatch }) {
      if (closed) throw closedError();
      const topic = topics[topicName];
      const group = topic.groups.get(groupName) ?? createMemoryGroup();
      if (topic.groups.size === 0)
        group.push(topic.early.splice(0).map((entry): Entry => ({ ...entry, handled: () => {} })));
      topic.groups.set(groupName, group);
      const what = `Handling of ${topicName} by ${groupName}`;
      return group.join((source) => createPartitionRunner({ concurrency, finishes, source, onBatch, log, what }));
    },

    async tail({ topic: topicName, onMessage }): Promise<Tail> {
      const tail = { watched: new Array<number>(PARTITIONS).fill(0), onMessage };
      const { tails } = topics[topicName];
      tails.add(tail);
      const count = (key: string, change: number) => {
        const partition = partitionFor(key, PARTITIONS);
        tail.watched[partition] = Math.max(0, (tail.watched[partition] ?? 0) + change);
      };
      return {
        watch: async (key) => count(key, 1),
        unwatch: (key) => count(key, -1),
        close: async () => void tails.delete(tail),
      };
    },

    async isUp() {
      return !closed;
    },

    async close(deadline = defaultDeadline()) {
      if (closed) return;
      closed = true;
      const groups = Object.values(topics).flatMap((topic) => [...topic.groups.values()]);
      await Promise.all(groups.map((group) => group.close(deadline)));
      for (const reject of unfinished) reject(closedError());
      unfinished.clear();
    },
  };
}

interface Placed {
  partition: number;
  value: Buffer;
}

function newTopic(): TopicState {
  return { groups: new Map(), early: [], tails: new Set(), waitingBytes: 0, turn: 0 };
}

function place(topic: TopicState, { key, value }: BusMessage): Placed {
  if (key !== undefined) return { partition: partitionFor(key, PARTITIONS), value };
  topic.turn = (topic.turn + 1) % PARTITIONS;
  return { partition: topic.turn, value };
}

/** The latest entries of `early` that fit the bounds. */
function latest(early: Placed[]): Placed[] {
  let bytes = 0;
  const from = early.findLastIndex(({ value }, n) => {
    bytes += value.length;
    return bytes > EARLY_BYTES_MAX || n < early.length - EARLY_MESSAGES_MAX;
  });
  return early.slice(from + 1);
}

function closedError(): Error {
  return new Error('The bus is closed.');
}
