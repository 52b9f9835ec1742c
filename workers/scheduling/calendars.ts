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
 * Computes calendars anew that come from older time-zone data than this process has, or that begin
 * behind now because the clock was set back, and then finds the next slots anew. With `all`, it
 * does so even if no calendar was: another process may have ended between the two steps, and a
 * clock that was set back may still be within what the calendars have.
 */
export async function renewSlots(db: Db, { all, signal }: { all: boolean; signal: AbortSignal }) {
  const calendars = await inSteps(signal, (after) => recomputeCalendars(db, { after, limit: CALENDARS_PER_STEP }));
  const schedules =
    all || calendars > 0 ? await inSteps(signal, (after) => replanSlots(db, { after, limit: SCHEDULES_PER_STEP })) : 0;
  return { calendars, schedules };
}

/**
 * Keeps the calendars ahead of the slots, and up to date with the time-zone data of this process.
 * It removes calendars that no schedule has.
 */
export async function runCalendars(
  { db, log }: { db: Db; log: Logger },
  { wake, signal }: { wake: Signal; signal: AbortSignal },
): Promise<void> {
  const look = async () => {
    const { calendars, schedules } = await renewSlots(db, { all: false, signal });
    if (calendars > 0) log.warn({ calendars, schedules, timeZoneData: TIME_ZONE_DATA }, RENEWED);
    if (schedules > 0) wake.notify();
    for (let isFull = true; isFull && !signal.aborted; ) {
      const { count, failed } = await refillCalendars(db, { limit: CALENDARS_PER_STEP });
      for (const { error: err, ...calendar } of failed) log.error({ err, ...calendar }, FAILED);
      isFull = count === CALENDARS_PER_STEP;
    }
  };
  await Promise.all([
    repeat({ log, what: 'Keeping the calendars of schedules', everyMs: LOOK_MS, signal }, look),
    repeat({ log, what: 'Removing unused calendars', everyMs: UNUSED_MS, signal }, async () => {
      await removeUnusedCalendars(db);
    }),
  ]);
}

const RENEWED =
  'The calendars of cron schedules were computed anew: the time-zone data are newer, or the clock was set back.';
const FAILED =
  'The calendar of cron schedules cannot be computed, and its workflows wait. Does this Node.js know its time zone?';
