import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { type RedispatchPlace, redispatchQueued } from '../../db/jobs/redispatch.ts';
import { repeat } from '../../platform/async/repeat.ts';
import type { Signal } from '../../platform/async/signal.ts';

/**
 * Dispatching this many jobs takes 50 to 200 ms, and a due slot waits for that. For 100,000 jobs
 * all steps took 5 s, and the passes that follow took 20 s.
 */
const SCHEDULES_PER_STEP = 1_000;
/** Gives the scheduling loop time to dispatch the jobs of a step. */
const PAUSE_MS = 250;
const IDLE_MS = 3_600_000;

/**
 * Dispatches QUEUED jobs again within seconds, each time that `asked` is notified. Their events may
 * have been lost with the bus, in an outage, or in the memory of a worker. It notifies `found` when
 * there are jobs for the scheduling loop of this process.
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
