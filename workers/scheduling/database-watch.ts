import type { Logger } from 'pino';
import type { Instant } from '../../platform/async/instant.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import { createUptime } from '../shared/uptime.ts';

/** Leases last 30 seconds and are renewed every 10: in a break as long as that none expires. */
const BREAK_MS = 10_000;
/** Three questions may be late before that. */
const ASK_MS = 2_500;

/**
 * For how long the database has taken writes without a break, as this process sees it. After a
 * break (an outage, a database, process or machine that was frozen) leases have expired whose
 * owners had no chance to renew them: they get the time from here on.
 */
export interface Watch {
  /**
   * Seconds that the database has taken writes without a break. Read the rows that are judged by it
   * first, and ask then: a database that was frozen answers a statement from before the break when
   * every lease has expired.
   */
  seconds(): number;
  close(): Promise<void>;
}

/**
 * Asks the database every few seconds, in a loop of its own: how long others take with their work
 * is no break. `ask` should have a connection of its own: where it waits for one of a busy pool,
 * that looks like an outage.
 */
export function startWatch({
  ask,
  log,
  now,
  everyMs = ASK_MS,
  onBack = () => undefined,
}: {
  /** Resolves when the database has taken a write. */
  ask: () => Promise<void>;
  log: Logger;
  now?: () => Instant;
  everyMs?: number;
  /** Called when a period without a break begins: the first one, too. */
  onBack?: () => void;
}): Watch {
  const uptime = createUptime({ gapMs: BREAK_MS, now });
  const what = 'Asking the database whether it takes writes';
  const close = startRepeating({ log, what, everyMs, maxMs: everyMs }, async () => {
    try {
      await ask();
    } catch (error) {
      uptime.ended();
      throw error;
    }
    if (uptime.goesOn()) onBack();
  });
  return { seconds: uptime.seconds, close };
}
