import type { Logger } from 'pino';
import { recomputeCalendars, refillCalendars, removeUnusedCalendars } from '../../db/calendars.ts';
import type { Db } from '../../db/client.ts';
import { replanSlots } from '../../db/jobs/replan.ts';
import { TIME_ZONE_DATA } from '../../domain/schedule/time-zone.ts';
import { repeat } from '../../platform/async/repeat.ts';
import type { Signal } from '../../platform/async/signal.ts';
import { inSteps } from './in-steps.ts';

const LOOK_MS = 5_000;
const UNUSED_MS = 3_600_000;
const CALENDARS_PER_STEP = 20;
const SCHEDULES_PER_STEP = 1_000;

/**
 * Keeps the calendars ahead of the slots. It computes calendars anew that come from older time-zone
 * data than this process has, or that begin behind now because the clock was set back, and then
 * finds the next slots anew. It removes calendars that no schedule has.
 *
 * The first look finds all next slots anew: another process may have ended between the two steps.
 */
export async function runCalendars(
  { db, log }: { db: Db; log: Logger },
  { wake, signal }: { wake: Signal; signal: AbortSignal },
): Promise<void> {
  let isFirst = true;
  const look = async () => {
    const calendars = await inSteps(signal, (after) => recomputeCalendars(db, { after, limit: CALENDARS_PER_STEP }));
    if (calendars > 0 || isFirst) {
      const schedules = await inSteps(signal, (after) => replanSlots(db, { after, limit: SCHEDULES_PER_STEP }));
      if (signal.aborted) return; // the next process goes on
      isFirst = false;
      if (schedules > 0) wake.notify();
      if (calendars + schedules > 0) log.warn({ calendars, schedules, timeZoneData: TIME_ZONE_DATA }, RENEWED);
    }
    while (!signal.aborted && (await refillCalendars(db, { limit: CALENDARS_PER_STEP })) === CALENDARS_PER_STEP);
  };
  await Promise.all([
    repeat({ log, what: 'Keeping the calendars of schedules', everyMs: LOOK_MS, signal }, look),
    repeat({ log, what: 'Removing unused calendars', everyMs: UNUSED_MS, signal }, async () => {
      await removeUnusedCalendars(db);
    }),
  ]);
}

const RENEWED =
  'Slots of cron schedules were found anew: the time-zone data are newer, or the clock of the database was set back.';
