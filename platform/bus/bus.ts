/**
 * The bus: Kafka, or an in-process one. Events on it are hints (docs/internals: rule 1), so
 * at-least-once in any order is all that is promised; the lines of one job keep their order because
 * they share a partition.
 */
export type Topic = 'workflows' | 'job_logs';

export interface BusMessage {
  /** Messages with the same key share a partition, in order. Without one they are spread. */
  key?: string;
  value: Buffer;
}

export interface Bus {
  readonly embedded: boolean;

  /**
   * Resolves when the messages are safe: written by the broker, or (in process) `job_logs` handled
   * by every group that consumes it, so that a job's lines are stored before its end is. Rejects
   * when the broker cannot be reached.
   */
  publish(topic: Topic, messages: BusMessage[]): Promise<void>;

  /** The partition of `key`. Several keys in one message must share a partition. */
  partitionOf(topic: Topic, key: string): Promise<number>;

  /**
   * Consumes `topic` as one member of `group`; resolves once it has joined, waits while the broker
   * is away, and rejects when the bus is closed before. While `onBatch` runs, no more than 1 MiB of
   * its partition is fetched ahead, so that a handler that waits for capacity leaves the backlog in
   * Kafka; up to `concurrency` partitions are handled at once.
   *
   * A batch counts as consumed when `onBatch` resolves before its `signal` aborts. When it rejects,
   * the batch comes again after a back-off. The signal aborts when the partition was lost, or when
   * the consumer closes and the handler has not ended within a moment, or, of a consumer that
   * `finishes`, by the deadline of the close. The handler then gives up and returns, and the batch
   * comes to the next consumer of the partition.
   */
  consume(options: {
    topic: Topic;
    group: string;
    concurrency: number;
    /**
     * Whether handlers have until the deadline at close. For handlers that do not wait for
     * capacity.
     */
    finishes?: boolean;
    onBatch: (messages: Buffer[], signal: AbortSignal) => Promise<void>;
  }): Promise<Closable>;

  /**
   * Follows `topic` from now on, outside any group's work: each process sees every message of the
   * partitions it has asked for, and costs nothing for others. Messages may be missed around an
   * outage; `onGap` then says so.
   */
  tail(options: { topic: Topic; onMessage: (value: Buffer) => void; onGap: () => void }): Promise<Tail>;

  /** Whether the broker answers now. */
  isUp(): Promise<boolean>;
  close(deadline?: AbortSignal): Promise<void>;
}

export interface Tail extends Closable {
  /**
   * Resolves when whatever is published to the partition of `key` from now on is delivered.
   * Counted: each needs an `unwatch`, except one that rejects because the broker cannot be reached.
   */
  watch(key: string): Promise<void>;
  unwatch(key: string): void;
}

export interface Closable {
  /**
   * Stops taking new work, waits for handlers that run, and commits. It waits for nothing after the
   * deadline.
   */
  close(deadline?: AbortSignal): Promise<void>;
}
