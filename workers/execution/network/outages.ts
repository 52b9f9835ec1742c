import type { Logger } from 'pino';
import { beginOutage, endOutage } from '../../../db/alerts/outages.ts';
import type { Db } from '../../../db/client.ts';
import { defaultDeadline, settledBefore } from '../../../platform/async/deadline.ts';
import { retry } from '../../../platform/async/retry.ts';

/** What a worker learns about the network of its machine, in the order in which it happens. */
export interface Outages {
  /** `fault`: what is wrong, a sentence without its full stop. */
  begun(fault: string): void;
  /** None that is open lasts any longer. */
  ended(): void;
}

interface Change {
  /** Undefined: it has ended. */
  fault: string | undefined;
  at: number;
}

/** An outage of the network may be one of the way to the database, too. */
const BACKOFF_MS_MAX = 3_000;
/** The next change that is not being written, and the one after it. */
const WAITING_MAX = 2;

export interface OutageRecorder extends Outages {
  /** Writes what waits. What is not written at the deadline is lost. */
  close(deadline?: AbortSignal): Promise<void>;
}

/**
 * Stores the outages of the network of `host`, in the background and until the database has taken
 * them. While it is away, an end with a beginning after it counts as neither.
 */
export function createOutageRecorder({ db, log, host }: { db: Db; log: Logger; host: string }): OutageRecorder {
  const waiting: Change[] = [];
  const abort = new AbortController();
  let writing: Promise<void> | undefined;

  function add(fault: string | undefined): void {
    if (abort.signal.aborted) return;
    if (waiting.length === WAITING_MAX) waiting.pop();
    else waiting.push({ fault, at: performance.now() });
    writing ??= write()
      .catch(() => undefined) // it was closed
      .finally(() => {
        writing = undefined;
      });
  }

  async function write(): Promise<void> {
    const options = { log, what: 'Storing an outage of the network', maxMs: BACKOFF_MS_MAX, signal: abort.signal };
    for (let change = waiting.shift(); change !== undefined; change = waiting.shift()) {
      const { fault, at } = change;
      await retry(options, async () => {
        const outage = { kind: 'NETWORK', place: host, secondsAgo: (performance.now() - at) / 1_000 } as const;
        if (fault === undefined) await endOutage(db, outage);
        else await beginOutage(db, { ...outage, host, detail: `${fault}.` });
      });
    }
  }

  return {
    begun: add,
    ended: () => add(undefined),
    async close(deadline = defaultDeadline()) {
      if (writing !== undefined) await settledBefore(writing, deadline);
      abort.abort();
    },
  };
}
