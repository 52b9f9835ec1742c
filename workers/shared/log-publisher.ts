import type { Logger } from 'pino';
import { encodeChunks, type LogEntry } from '../../domain/logs/chunk.ts';
import { retry } from '../../platform/async/retry.ts';
import type { Bus } from '../../platform/bus/bus.ts';

/**
 * Publishes chunks and markers of one job or build, retrying each until it is safe on the bus.
 * While the bus is away the collector waits, and the container goes on printing into the engine's
 * log. Rejects only when `signal` aborts.
 */
export function createPublisher({
  bus,
  log,
  isFresh,
  signal,
}: {
  bus: Bus;
  log: Logger;
  /**
   * Whether the lease surely holds. A worker that was frozen beyond its lease publishes nothing
   * more.
   */
  isFresh: () => boolean;
  signal: AbortSignal;
}): (entry: LogEntry) => Promise<void> {
  const options = { log, what: 'Publishing lines', maxMs: 2_000, signal };
  return async (entry) => {
    const message = { key: entry.sourceId, value: encodeChunks([entry]) };
    await retry(options, async () => {
      if (!isFresh()) throw new Error('The lease could not be renewed in time');
      await bus.publish('job_logs', [message]);
    });
  };
}
