import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { settledLines } from '../../db/logs/markers.ts';
import { attemptMarker, type LogEntry } from '../../domain/logs/chunk.ts';
import { retry, waitAfter } from '../../platform/async/retry.ts';

/** A job or a build that was claimed. */
interface Claimed {
  id: string;
  epoch: number;
  /** Undefined while lines of an earlier epoch may be on their way to the store. */
  linesBefore: number | undefined;
}

const ASK_MS_MIN = 10;
const ASK_MS_MAX = 1_000;

/**
 * Returns how many lines the log has before the first one of this worker: those of earlier
 * attempts, and of the worker whose container it has adopted. When that is not settled, it
 * publishes an attempt marker and waits until everything before the marker is stored, however long
 * that takes. Rejects when `signal` aborts.
 */
export async function settledLinesBefore(
  {
    db,
    log,
    publish,
    signal,
  }: { db: Db; log: Logger; publish: (entry: LogEntry) => Promise<void>; signal: AbortSignal },
  { id, epoch, linesBefore }: Claimed,
): Promise<number> {
  if (linesBefore !== undefined) return linesBefore;
  await publish(attemptMarker(id, epoch));
  const what = 'Asking how many lines were printed before';
  for (let asked = 1; ; asked += 1) {
    const lines = await retry({ log, what, signal }, () => settledLines(db, id, epoch));
    if (lines !== undefined) return lines;
    await waitAfter(asked, { minMs: ASK_MS_MIN, maxMs: ASK_MS_MAX, signal });
  }
}
