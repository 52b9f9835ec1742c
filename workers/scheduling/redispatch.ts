import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { type RedispatchPlace, redispatchQueued } from '../../db/jobs/redispatch.ts';
import { repeat } from '../../platform/async/repeat.ts';
import type { Signal } from '../../platform/async/signal.ts';

/** So many jobs are handed out in 50 to 200 ms, for which a due slot waits. Of 100,000 all steps took 5 s, and the passes that follow 20 s. */
const SCHEDULES_PER_STEP = 1_000;
/** In which the scheduling loop hands out what a step has found. */
const PAUSE_MS = 250;
const IDLE_MS = 3_600_000;

/**
 * Hands out again, within seconds, what is QUEUED, each time that `asked` is notified: events may have been lost with the bus, in an outage, or in the memory
 * of a worker. `found` is notified when there is something for the scheduling loop.
 */
export async function runRedispatch(
  { db, log, asked, found }: { db: Db; log: Logger; asked: Signal; found: Signal },
  signal: AbortSignal,
): Promise<void> {
  const what = 'Dispatching again what is queued';
  while (!signal.aborted) {
    await asked.wait(signal, IDLE_MS);
    const pass = new AbortController();
    let after: RedispatchPlace | undefined;
    const step = async () => {
      const { count, next } = await redispatchQueued(db, { after, limit: SCHEDULES_PER_STEP });
      after = next;
      if (count > 0) found.notify();
      if (next === undefined) pass.abort();
      return count > 0 ? PAUSE_MS : 0;
    };
    await repeat({ log, what, everyMs: PAUSE_MS, signal: AbortSignal.any([signal, pass.signal]) }, step);
  }
}
