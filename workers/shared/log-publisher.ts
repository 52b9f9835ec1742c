import type { Logger } from 'pino';
import { encodeChunks, type LogChunk } from '../../domain/logs/chunk.ts';
import { retry } from '../../platform/async/retry.ts';
import type { Bus } from '../../platform/bus/bus.ts';

/**
 * Prints chunks of one job or build onto the bus, each until it is safe there: while the bus is away the capture waits, and the container
 * goes on printing into the engine's log. Rejects only when `signal` aborts.
 */
export function createPublisher({
  bus,
  log,
  isFresh,
  signal,
}: {
  bus: Bus;
  log: Logger;
  /** Whether the lease is held for sure: a worker that was frozen past it prints nothing more. */
  isFresh: () => boolean;
  signal: AbortSignal;
}): (chunk: LogChunk) => Promise<void> {
  const options = { log, what: 'Printing lines on the bus', maxMs: 2_000, signal };
  return async (chunk) => {
    const message = { key: chunk.sourceId, value: encodeChunks([chunk]) };
    await retry(options, async () => {
      if (!isFresh()) throw new Error('The lease could not be renewed in time');
      await bus.publish('job_logs', [message]);
    });
  };
}
