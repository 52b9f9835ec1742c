import type { Logger } from 'pino';
import { settledBefore, settledWithin } from '../async/deadline.ts';
import { waitAfter } from '../async/retry.ts';

/**
 * Runs the handler of one consumer over its partitions: one batch of a partition at a time, up to `concurrency` partitions at
 * once, a rejected batch again after a back-off (during which others may use its place). Both buses are built on it.
 */
export interface PartitionRunner {
  /** There may be something to take in `partition`. */
  wake(partition: number): void;
  /** The partition is not ours any more: its handler is told to give up. */
  drop(partition: number): void;
  /**
   * Starts nothing more, and lets handlers finish: for a moment, or with `finishes` until the deadline. Then it aborts their signals, and
   * waits for them until the deadline, or for a moment.
   */
  close(deadline: AbortSignal): Promise<void>;
}

/** Where batches come from. Each batch taken ends in exactly one of `handled` and `putBack`. */
export interface Source<E> {
  /** The next batch of the partition, empty when there is none to take now. */
  take(partition: number): E[];
  handled(partition: number, batch: E[]): void;
  /** The handler gave up, or resolved too late to count. */
  putBack(partition: number, batch: E[]): void;
}

const BATCH_MESSAGES_MAX = 500; // with 64 ids a message, 32,000 rows: more does not make the sets cheaper
const BATCH_BYTES_MAX = 4 * 1024 * 1024;

const GRACE_MS = 250;

interface Lane<E> {
  partition: number;
  batch: E[];
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
  const ready = new Set<number>(); // in the order in which they became ready, so that each gets its turn
  const lanes = new Map<number, Lane<E>>();
  const failing = new Set<number>();
  let active = 0;
  let pumping = false;
  let closing = false;

  /** In a microtask, so that whatever is queued in one go is one batch. */
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
      const lane = lanes.get(partition);
      if (lane?.backingOff === false) continue; // busy: it looks again when it is done
      const next = lane ?? open(partition);
      if (next !== undefined) void run(next);
    }
  }

  function open(partition: number): Lane<E> | undefined {
    const batch = source.take(partition);
    if (batch.length === 0) return undefined;
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const controller = new AbortController();
    const lane = { partition, batch, failures: 0, backingOff: false, controller, done, finish };
    lanes.set(partition, lane);
    return lane;
  }

  async function run(lane: Lane<E>): Promise<void> {
    const { signal } = lane.controller;
    active += 1;
    lane.backingOff = false;
    const outcome = await attempt(lane);
    active -= 1;
    pumpSoon();
    if (signal.aborted) return end(lane, false);
    if (outcome.ok) return end(lane, true);
    lane.failures += 1;
    failed(lane.partition, outcome.error);
    if (closing) return end(lane, false);
    lane.backingOff = true;
    await waitAfter(lane.failures, { signal });
    if (signal.aborted) return end(lane, false);
    ready.add(lane.partition);
    pumpSoon();
  }

  async function attempt(lane: Lane<E>): Promise<{ ok: true } | { ok: false; error: unknown }> {
    try {
      await onBatch(
        lane.batch.map((entry) => entry.value),
        lane.controller.signal,
      );
      return { ok: true };
    } catch (error) {
      return { ok: false, error };
    }
  }

  function end(lane: Lane<E>, handled: boolean): void {
    lanes.delete(lane.partition);
    if (handled) {
      recovered(lane.partition);
      source.handled(lane.partition, lane.batch);
    } else {
      failing.delete(lane.partition);
      source.putBack(lane.partition, lane.batch);
    }
    lane.finish();
    ready.add(lane.partition);
    pumpSoon();
  }

  /** One line an outage, however many partitions it touches. */
  function failed(partition: number, error: unknown): void {
    if (failing.size === 0) log.warn({ err: error, partition }, `${what} failed; the batch is handled again.`);
    failing.add(partition);
  }

  function recovered(partition: number): void {
    if (failing.delete(partition) && failing.size === 0) log.info(`${what} works again.`);
  }

  return {
    wake(partition) {
      if (closing) return;
      ready.add(partition);
      pumpSoon();
    },

    drop(partition) {
      ready.delete(partition);
      abort(lanes.get(partition));
    },

    async close(deadline) {
      closing = true;
      for (const lane of lanes.values()) if (lane.backingOff) abort(lane);
      const done = Promise.all([...lanes.values()].map((lane) => lane.done));
      if (await (finishes ? settledBefore(done, deadline) : settledWithin(done, GRACE_MS))) return;
      for (const lane of lanes.values()) abort(lane);
      if (await (finishes ? settledWithin(done, GRACE_MS) : settledBefore(done, deadline))) return;
      log.warn({ partitions: [...lanes.keys()] }, `${what} did not stop in time.`);
    },
  };

  function abort(lane: Lane<E> | undefined): void {
    if (lane === undefined || lane.controller.signal.aborted) return;
    lane.controller.abort(new Error(`${what}: the partition was lost, or the consumer closes.`));
    if (lane.backingOff && ready.delete(lane.partition)) end(lane, false); // waiting for a place: nobody else would end it
  }
}

/** How many of the queue's first entries make a batch within the bounds; one at least. */
export function batchLength(queue: { value: Buffer }[]): number {
  let bytes = 0;
  const end = Math.min(queue.length, BATCH_MESSAGES_MAX);
  for (let n = 0; n < end; n += 1) {
    bytes += queue[n]?.value.length ?? 0;
    if (bytes > BATCH_BYTES_MAX) return Math.max(1, n);
  }
  return end;
}
