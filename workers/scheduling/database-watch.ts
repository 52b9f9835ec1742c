import type { Logger } from 'pino';
import { type Instant, instant } from '../../platform/async/instant.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import { createUptime } from '../shared/uptime.ts';

/**
 * Leases last 30 seconds and are renewed every 10 seconds: none expires in a break of this length.
 */
const BREAK_MS = 10_000;
/** Three questions in a row may be late before that is a break. */
const ASK_MS = 2_500;

/**
 * How long the database has taken writes without a break, as this process sees it. A break is an
 * outage, a database, process or machine that was frozen, or a clock that was set. After a break,
 * leases have expired whose owners had no chance to renew them: the owners get the time from here
 * on.
 */
export interface Watch {
  /**
   * Seconds that the database has taken writes without a break, up to `databaseMs` of the
   * database's own clock, when the rows were read that this number judges. First read these, then
   * call it: a database that was frozen answers a statement from before the break when every lease
   * has expired.
   */
  seconds(databaseMs: number): number;
  close(): Promise<void>;
}

/**
 * Asks the database every few seconds, in its own loop, so that slow work elsewhere is no break.
 * `ask` should have its own connection: a wait for a connection of a busy pool looks like an
 * outage.
 */
export function startWatch({
  ask,
  log,
  now = instant,
  everyMs = ASK_MS,
  onBack = () => undefined,
}: {
  /** Resolves when the database has taken a write, to the time of its clock. */
  ask: () => Promise<number>;
  log: Logger;
  now?: () => Instant;
  everyMs?: number;
  /** Called when a period without a break begins, the first one included. */
  onBack?: () => void;
}): Watch {
  const uptime = createUptime({ gapMs: BREAK_MS, now });
  let last: { databaseMs: number; at: Instant } | undefined;
  /** The clocks of two machines run alike, unless one of them is set. */
  const isSet = (databaseMs: number) => {
    if (last === undefined) return false;
    const passedMs = now().monotonic - last.at.monotonic;
    return Math.abs(databaseMs - last.databaseMs - passedMs) > BREAK_MS;
  };
  const what = 'Asking the database whether it takes writes';
  const close = startRepeating({ log, what, everyMs, maxMs: everyMs }, async () => {
    let databaseMs: number;
    try {
      databaseMs = await ask();
    } catch (error) {
      uptime.ended();
      throw error;
    }
    if (isSet(databaseMs)) uptime.ended();
    last = { databaseMs, at: now() };
    if (uptime.goesOn()) onBack();
  });
  return { seconds: (databaseMs) => (isSet(databaseMs) ? 0 : uptime.seconds()), close };
}
