import type { Logger } from 'pino';
import { settledBefore, settledWithin } from '../async/deadline.ts';
import { waitAfter } from '../async/retry.ts';

/**
 * Runs the handler of one consumer over its partitions. It handles one batch of a partition at a
 * time, and up to `concurrency` partitions at once. A rejected batch runs again after a back-off,
 * during which another partition may use its place. Both buses are built on it.
 */
export interface PartitionRunner {
  /** Looks again, because `partition` may have a batch. */
  wake(partition: number): void;
  /** Gives up a partition that is no longer ours: its handler's signal aborts. */
  drop(partition: number): void;
  /**
   * Starts nothing more, and lets running handlers finish: for a moment, or with `finishes` until
   * the deadline. Then it aborts their signals, and waits for them until the deadline, or with
   * `finishes` for a moment.
   */
  close(deadline: AbortSignal): Promise<void>;
}

/** Where batches come from. Each taken batch ends in exactly one of `handled` and `putBack`. */
export interface Source<E> {
  /** The next batch of the partition. Empty if there is none to take now. */
  take(partition: number): E[];
  handled(partition: number, batch: E[]): void;
  /** The handler gave up, or resolved too late to count. */
  putBack(partition: number, batch: E[]): void;
}

// With 64 ids per message, this is 32,000 rows. Larger sets of rows do not get cheaper.
const BATCH_MESSAGES_MAX = 500;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;

const GRACE_MS = 250;

/** A batch that is being handled, or waits for its next try. */
interface RunningBatch<E> {
  partition: number;
  entries: E[];
  failures: number;
  backingOff: boolean;
  controller: AbortController;
  done: Promise<void>;
  finish: () => void;
}

export function createPartitionRunner<E extends { value: Buffer }>({
  concurrency,
  source,
  onBatch,
  log,
  what,
  finishes = false,
}: {
  concurrency: number;
  source: Source<E>;
  onBatch: (messages: Buffer[], signal: AbortSignal) => Promise<void>;
  log: Logger;
  what: string;
  finishes?: boolean | undefined;
}): PartitionRunner {
  // In the order in which they became ready, so that each partition gets its turn.
  const ready = new Set<number>();
  const batches = new Map<number, RunningBatch<E>>();
  const failing = new Set<number>();
  let first: unknown;
  let active = 0;
  let pumping = false;
  let closing = false;

  /** Runs in a microtask, so that messages that are queued together become one batch. */
  function pumpSoon(): void {
    if (pumping) return;
    pumping = true;
    queueMicrotask(() => {
      pumping = false;
      pump();
    });
  }

  function pump(): void {
    for (const partition of ready) {
      if (closing || active >= concurrency) return;
      ready.delete(partition);
      const batch = batches.get(partition);
      if (batch?.backingOff === false) continue; // busy: it looks again when it ends
      const next = batch ?? open(partition);
      if (next !== undefined) void run(next);
    }
  }

  function open(partition: number): RunningBatch<E> | undefined {
    const entries = source.take(partition);
    if (entries.length === 0) return undefined;
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const controller = new AbortController();
    const batch = { partition, entries, failures: 0, backingOff: false, controller, done, finish };
    batches.set(partition, batch);
    return batch;
  }

  async function run(batch: RunningBatch<E>): Promise<void> {
    const { signal } = batch.controller;
    active += 1;
    batch.backingOff = false;
    const outcome = await attempt(batch);
    active -= 1;
    pumpSoon();
    if (signal.aborted) return end(batch, false);
    if (outcome.ok) return end(batch, true);
    batch.failures += 1;
    failed(batch.partition, outcome.error);
    if (closing) return end(batch, false);
    batch.backingOff = true;
    await waitAfter(batch.failures, { signal });
    if (signal.aborted) return end(batch, false);
    ready.add(batch.partition);
    pumpSoon();
  }

  async function attempt(batch: RunningBatch<E>): Promise<{ ok: true } | { ok: false; error: unknown }> {
    try {
      await onBatch(
        batch.entries.map((entry) => entry.value),
        batch.controller.signal,
      );
      return { ok: true };
    } catch (error) {
      return { ok: false, error };
    }
  }

  function end(batch: RunningBatch<E>, handled: boolean): void {
    batches.delete(batch.partition);
    if (handled) {
      recovered(batch.partition);
      source.handled(batch.partition, batch.entries);
    } else {
      failing.delete(batch.partition);
      source.putBack(batch.partition, batch.entries);
    }
    batch.finish();
    ready.add(batch.partition);
    pumpSoon();
  }

  /** Logs one line per outage, however many partitions it touches. */
  function failed(partition: number, error: unknown): void {
    if (failing.size === 0) {
      first = error;
      log.warn({ err: error, partition }, `${what} failed; the batch is handled again.`);
    }
    failing.add(partition);
  }

  function recovered(partition: number): void {
    if (failing.delete(partition) && failing.size === 0) log.info({ after: first }, `${what} works again.`);
  }

  return {
    wake(partition) {
      if (closing) return;
      ready.add(partition);
      pumpSoon();
    },

    drop(partition) {
      ready.delete(partition);
      abort(batches.get(partition));
    },

    async close(deadline) {
      closing = true;
      for (const batch of batches.values()) if (batch.backingOff) abort(batch);
      const done = Promise.all([...batches.values()].map((batch) => batch.done));
      if (await (finishes ? settledBefore(done, deadline) : settledWithin(done, GRACE_MS))) return;
      for (const batch of batches.values()) abort(batch);
      if (await (finishes ? settledWithin(done, GRACE_MS) : settledBefore(done, deadline))) return;
      log.warn({ partitions: [...batches.keys()] }, `${what} did not stop in time.`);
    },
  };

  function abort(batch: RunningBatch<E> | undefined): void {
    if (batch === undefined || batch.controller.signal.aborted) return;
    batch.controller.abort(new Error(`${what}: the partition was lost, or the consumer closes.`));
    // It waits for a place to run, so nothing else would end it.
    if (batch.backingOff && ready.delete(batch.partition)) end(batch, false);
  }
}

/** How many of the queue's first entries make a batch within the bounds, at least one. */
export function batchLength(queue: { value: Buffer }[]): number {
  let bytes = 0;
  const end = Math.min(queue.length, BATCH_MESSAGES_MAX);
  for (let n = 0; n < end; n += 1) {
    bytes += queue[n]?.value.length ?? 0;
    if (bytes > BATCH_BYTES_MAX) return Math.max(1, n);
  }
  return end;
}
