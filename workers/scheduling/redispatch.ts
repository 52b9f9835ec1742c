import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { type RedispatchPlace, redispatchQueued } from '../../db/jobs/redispatch.ts';
import { createBackoff } from '../../platform/async/retry.ts';
import { createSignal, type Signal } from '../shared/signal.ts';

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
  const backoff = createBackoff({ log, what: 'Handing out again what is queued' });
  const pause = createSignal();
  while (!signal.aborted) {
    await asked.next({ timeoutMs: IDLE_MS, signal });
    let after: RedispatchPlace | undefined;
    for (let isDone = false; !isDone && !signal.aborted; ) {
      try {
        const { count, next } = await redispatchQueued(db, { after, limit: SCHEDULES_PER_STEP });
        backoff.reset();
        after = next;
        isDone = next === undefined;
        if (count === 0) continue;
        found.notify();
        await pause.next({ timeoutMs: PAUSE_MS, signal });
      } catch (error) {
        await backoff.wait(error, signal);
      }
    }
  }
}
