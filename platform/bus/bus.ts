/**
 * The bus: Kafka, or an in-process one. Events on it are hints (docs/internals: rule 1). So it
 * promises only to deliver them at least once, in any order. The lines of one job keep their order
 * because they share a partition.
 */
export type Topic = 'workflows' | 'job_logs';

export interface BusMessage {
  /** Messages with the same key share a partition, in order. Without a key, they are spread. */
  key?: string;
  value: Buffer;
}

export interface Bus {
  readonly embedded: boolean;

  /**
   * Resolves when the messages are safe. With Kafka, the broker has then written them. In process,
   * every group has then handled the messages of `job_logs`, so that a job's lines are stored
   * before its end is. Rejects if the broker cannot be reached.
   */
  publish(topic: Topic, messages: BusMessage[]): Promise<void>;

  /** The partition of `key`. All keys in one message must share a partition. */
  partitionOf(topic: Topic, key: string): Promise<number>;

  /**
   * Consumes `topic` as one member of `group`. Resolves once it has joined, waits while the broker
   * is away, and rejects if the bus is closed before. While `onBatch` runs, at most 1 MiB of its
   * partition is fetched ahead. So a handler that waits for capacity leaves the backlog in Kafka.
   * Up to `concurrency` partitions are handled at once.
   *
   * A batch counts as consumed when `onBatch` resolves before its `signal` aborts. When it rejects,
   * the batch comes again after a back-off. The signal aborts when the partition was lost. It also
   * aborts at close, if the handler has not ended within a moment, or with `finishes` by the
   * deadline of the close. The handler then gives up and returns, and the next consumer of the
   * partition gets the batch.
   */
  consume(options: {
    topic: Topic;
    group: string;
    concurrency: number;
    /**
     * Whether handlers may run until the deadline at close. For handlers that do not wait for
     * capacity.
     */
    finishes?: boolean;
    onBatch: (messages: Buffer[], signal: AbortSignal) => Promise<void>;
  }): Promise<Closable>;

  /**
   * Follows `topic` from now on, outside any group's work. Each process sees every message of the
   * partitions that it watches, and the others cost nothing. It may miss messages around an outage,
   * and then calls `onGap`.
   */
  tail(options: { topic: Topic; onMessage: (value: Buffer) => void; onGap: () => void }): Promise<Tail>;

  /** Whether the broker answers now. */
  isUp(): Promise<boolean>;
  close(deadline?: AbortSignal): Promise<void>;
}

export interface Tail extends Closable {
  /**
   * Once it resolves, every later message to the partition of `key` is delivered. Calls are
   * counted: each needs an `unwatch`, except one that rejects because the broker cannot be reached.
   */
  watch(key: string): Promise<void>;
  unwatch(key: string): void;
}

export interface Closable {
  /**
   * Stops taking new work, waits for running handlers, and commits. It waits for nothing after the
   * deadline.
   */
  close(deadline?: AbortSignal): Promise<void>;
}
