import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { anchorSchedules, databaseClockMs, shortenBuildLeases } from '../../db/jobs/anchor.ts';
import { renewSlots } from './calendars.ts';
import { inSteps } from './in-steps.ts';

const SCHEDULES_PER_STEP = 1_000;
/** The clock of a database goes back by less when it is adjusted as usual. */
const STEP_MS_MIN = 1_000;

/**
 * Looks whether the clock of the database was set back, and then anchors the schedules anew:
 * without this, nothing would be due until the clock is again where it was. The first look anchors
 * too, because the clock may have been set back while no scheduler ran; and it finds out whether
 * this process has newer time-zone data. Returns whether schedules have changed.
 */
export function createClockWatch({ db, log }: { db: Db; log: Logger }): (signal: AbortSignal) => Promise<boolean> {
  let latestMs = Number.POSITIVE_INFINITY;
  return async (signal) => {
    const nowMs = await databaseClockMs(db);
    const backMs = latestMs - nowMs;
    if (backMs < STEP_MS_MIN) {
      latestMs = Math.max(nowMs, latestMs);
      return false;
    }
    if (Number.isFinite(backMs))
      log.warn({ seconds: Math.round(backMs / 1_000) }, 'The clock of the database was set back.');
    await shortenBuildLeases(db);
    const anchored = await inSteps(signal, (after) => anchorSchedules(db, { after, limit: SCHEDULES_PER_STEP }));
    const replanned = await renewSlots(db, { all: true, signal });
    const schedules = anchored + replanned.schedules;
    if (signal.aborted) return schedules > 0; // the next look goes on
    latestMs = nowMs;
    if (schedules > 0) log.warn({ schedules }, ANCHORED);
    return schedules > 0;
  };
}

const ANCHORED =
  'The next slots of workflows were further away than their schedules say. They begin anew from now: the clock was set back, or the time-zone data are newer.';
