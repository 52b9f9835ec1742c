import { removeOldAuditEvents } from '../../db/accounts/audit.ts';
import {
  removeDeletedChannels,
  removeOldDeliveries,
  removeOldIncidents,
  removeOldOutages,
} from '../../db/alerts/retention.ts';
import { areTotalsDue, rollUpTotals } from '../../db/analytics.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { extendCalendars } from '../../db/calendars.ts';
import { type Db, tryToWrite } from '../../db/client.ts';
import { sweepIdempotencyKeys } from '../../db/idempotency.ts';
import { makeJobDays } from '../../db/job-days.ts';
import { nextWakeMs } from '../../db/jobs/dispatch.ts';
import { sweepTurns } from '../../db/jobs/turns.ts';
import { notifyWatchedRuns } from '../../db/jobs/watched-runs.ts';
import { openEnds } from '../../db/logs/markers.ts';
import { makeLogPartitions } from '../../db/logs/partitions.ts';
import { removeOldNotifications } from '../../db/notifications.ts';
import { removeOldWorkers } from '../../db/workers.ts';
import { purgeDeleted, purgeSome } from '../../db/workflows/purge.ts';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { QUEUED_LOST, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import { NO_ID } from '../../domain/ids.ts';
import {
  ALERT_DELIVERY_DAYS,
  AUDIT_RETENTION_DAYS,
  DELETED_RETENTION_DAYS,
  JOB_RETENTION_DAYS,
  NOTIFICATION_RETENTION_DAYS,
} from '../../domain/limits.ts';
import { defaultDeadline, settledBefore } from '../../platform/async/deadline.ts';
import { repeat } from '../../platform/async/repeat.ts';
import { Signal } from '../../platform/async/signal.ts';
import { logOutcomes, publishEffects, publishHints, publishToBus } from '../../platform/publish.ts';
import type { Parts, Worker } from '../shared/parts.ts';
import { runCalendars } from './calendars.ts';
import { createClockWatch } from './clock.ts';
import { startWatch, type Watch } from './database-watch.ts';
import { inSteps } from './in-steps.ts';
import { createJobRetention } from './job-retention.ts';
import { createLogRetention } from './log-retention.ts';
import { schedulingPass } from './pass.ts';
import { runRedispatch } from './redispatch.ts';
import { warmUpScheduling } from './warm-up.ts';

const SLOTS_PER_PASS_MAX = 1_000;
/** The slots of an idle system come one by one. */
const SLOTS_PER_PASS_IDLE = 64;
/** Hints may be lost: a new workflow then waits at most this long. */
const IDLE_MS = 5_000;
const SWEEP_MS = 10_000;
/**
 * Readers add pending jobs to the totals, so waiting makes no total wrong. Waiting rolls up more
 * jobs at once, which is cheaper (measured: 9 to 15 microseconds of the database's CPU for a job
 * that is the only one of its workflow), and leaves bursts alone. A reader of totals looks through
 * all that wait, and adds up those of its user: so there are few.
 */
const PENDING_MAX = { idleSeconds: 2, jobs: 128_000, seconds: 30 };
const ROLL_UP_LOOK_MS = 2_000;
// A set holds up to 1,000 jobs. All sets take a statement of a few hundred milliseconds at most.
const SETS_PER_ROLL_UP_MAX = 16;
/** Partitions of jobs and of their lines are made so many days early. */
const DAYS_AHEAD = 3;
/** Each pass may delay all log lines for a moment: see db/logs/partitions.ts. */
const RETENTION_MS = 60_000;
/**
 * How many steps may run between two sweeps of the builds: a large history takes several sweeps.
 */
const PURGE_STEPS_MAX = 200;
const PURGES_PER_SWEEP_MAX = 1_000;
const TURNS_PER_SWEEP_MAX = 20_000;
const WATCHED_PER_STEP = 1_000;

export interface SchedulingParts extends Parts {
  /** A connection for the watch alone. Without it, the watch asks on one of the pool. */
  lone?: Db;
  deletedRetentionDays?: number;
  logRetentionDays?: number;
  jobRetentionDays?: number;
  auditRetentionDays?: number;
  notificationRetentionDays?: number;
}

/**
 * Turns due slots into jobs and dispatches them. Any number of copies may run: each takes rows that
 * no other copy holds.
 */
export async function startScheduling(parts: SchedulingParts): Promise<Worker> {
  const stop = new AbortController();
  const wake = new Signal();
  const { db, lone = db, log } = parts;
  await warmUpScheduling(parts);
  const redispatch = new Signal();
  const hinted = (message: string) => {
    if (message === QUEUED_LOST) redispatch.notify();
    wake.notify();
  };
  // An outage of the cache may have lost the hint that a worker has started.
  const unsubscribe = await parts.cache.subscribe(SCHEDULE_CHANNEL, hinted, () => hinted(QUEUED_LOST));
  const watch = startWatch({ ask: () => tryToWrite(lone), log, onBack: redispatch.notify });
  const loops = [
    runScheduling(parts, { wake, redispatch, watch, signal: stop.signal }),
    runRedispatch({ db, log, asked: redispatch, found: wake }, stop.signal),
    runSweep(parts, { watch, wake }, stop.signal),
    runCalendars(parts, { wake, signal: stop.signal }),
    runRollUp(parts, stop.signal),
    runRetention(parts, stop.signal),
    runOpenEnds(parts, stop.signal),
  ];
  return {
    async close(deadline = defaultDeadline()) {
      stop.abort();
      unsubscribe();
      await settledBefore(Promise.all([...loops, watch.close()]), deadline);
    },
  };
}

/**
 * Sleeps until the next schedule is due, or until a hint. A crash between the commit and the bus is
 * harmless: the jobs come up again by their schedules. While there is more to do, the next pass
 * runs as the last one is published. While the bus is away, the effects of at most two passes wait
 * here, and no other pass begins.
 */
async function runScheduling(
  { db, bus, cache, log }: Parts,
  { wake, redispatch, watch, signal }: { wake: Signal; redispatch: Signal; watch: Watch; signal: AbortSignal },
): Promise<void> {
  let limit = SLOTS_PER_PASS_IDLE;
  const unsent: Effects[] = [];
  let sending: Promise<void> | undefined;

  async function send(): Promise<void> {
    for (let first = unsent[0]; first !== undefined; first = unsent[0]) {
      await publishToBus(bus, first);
      unsent.shift();
    }
  }

  /** Rejects if the bus is away. What was not sent stays in `unsent`. */
  async function sent(): Promise<void> {
    const sent = sending;
    sending = undefined;
    await sent;
  }

  await repeat({ log, what: 'Dispatching due jobs', everyMs: IDLE_MS, wake, signal }, async () => {
    if (sending === undefined && unsent.length > 0) {
      await send();
      redispatch.notify(); // the bus was away, and may have lost events
    }
    const { effects, again, exhausted } = await schedulingPass({ db, limit, watchedSeconds: watch.seconds });
    logOutcomes(log, effects);
    limit = again ? SLOTS_PER_PASS_MAX : SLOTS_PER_PASS_IDLE;
    try {
      await sent();
    } finally {
      unsent.push(effects);
    }
    sending = send();
    sending.catch(() => {}); // `sent` reports it
    await publishHints(cache, effects);
    await extendCalendars(db, exhausted);
    if (again) return 0;
    await sent();
    const askedMs = performance.now();
    const wakeMs = (await nextWakeMs(db)) ?? IDLE_MS;
    // The answer was on its way for a part of that. A timer is late rather than early by up to a
    // millisecond; a pass that comes too early is followed by another one at once.
    return Math.max(0, Math.floor(Math.min(wakeMs, IDLE_MS) - (performance.now() - askedMs) / 2));
  });
}

/**
 * Finds builds whose event or worker was lost, removes what has expired, and creates the
 * partitions of the next days.
 */
async function runSweep(
  parts: SchedulingParts,
  { watch, wake }: { watch: Watch; wake: Signal },
  signal: AbortSignal,
): Promise<void> {
  const { db, bus, cache, log, deletedRetentionDays = DELETED_RETENTION_DAYS } = parts;
  let turn = NO_ID; // how far the turns were looked through
  const correctClock = createClockWatch({ db, log });
  await repeat({ log, what: 'The sweep', everyMs: SWEEP_MS, signal }, async () => {
    if (await correctClock(signal)) wake.notify();
    await makeLogPartitions(db, { daysAhead: DAYS_AHEAD });
    await makeJobDays(db, { daysAhead: DAYS_AHEAD });
    const effects = await sweepBuilds(db, { watchedSeconds: watch.seconds });
    // A later sweep finds again what the bus does not take.
    await publishEffects({ bus, cache, log }, effects);
    await notifyWatched(parts, signal);
    turn = (await sweepTurns(db, { after: turn, limit: TURNS_PER_SWEEP_MAX })).after ?? NO_ID;
    await sweepIdempotencyKeys(db);
    await removeOldWorkers(db);
    const workflows = await purgeDeleted(db, { days: deletedRetentionDays, limit: PURGES_PER_SWEEP_MAX });
    if (workflows > 0) log.info({ workflows }, 'Workflows that were deleted long ago are purged.');
    for (let n = 0; n < PURGE_STEPS_MAX && !signal.aborted && (await purgeSome(db)); n++);
  });
}

/** Runs that are late, and jobs that take long. A later sweep finds again what fails. */
async function notifyWatched({ db, bus, cache, log }: Parts, signal: AbortSignal): Promise<void> {
  await inSteps(signal, async (after) => {
    const { effects, ...step } = await notifyWatchedRuns(db, { after, limit: WATCHED_PER_STEP });
    await publishEffects({ bus, cache, log }, effects);
    return step;
  });
}

/**
 * Adds what has ended to the running totals, behind the hot path: when nothing ends, when much
 * waits, or when some has waited for long.
 */
async function runRollUp({ db, log }: Parts, signal: AbortSignal): Promise<void> {
  await repeat({ log, what: 'Rolling up totals', everyMs: ROLL_UP_LOOK_MS, signal }, async () => {
    if (!(await areTotalsDue(db, PENDING_MAX))) return ROLL_UP_LOOK_MS;
    const taken = await rollUpTotals(db, { limit: SETS_PER_ROLL_UP_MAX });
    return taken < SETS_PER_ROLL_UP_MAX ? ROLL_UP_LOOK_MS : 0;
  });
}

/**
 * Removes log lines, jobs, audit events, notifications and alerts that are older than their
 * retention.
 */
async function runRetention(
  {
    db,
    log,
    logRetentionDays,
    jobRetentionDays = JOB_RETENTION_DAYS,
    auditRetentionDays = AUDIT_RETENTION_DAYS,
    notificationRetentionDays = NOTIFICATION_RETENTION_DAYS,
  }: SchedulingParts,
  signal: AbortSignal,
): Promise<void> {
  const retention = createLogRetention({ db, days: logRetentionDays });
  const ofJobs = createJobRetention({ db, days: jobRetentionDays });
  await repeat({ log, what: 'Removing old log lines and jobs', everyMs: RETENTION_MS, signal }, async () => {
    const removed = await retention.pass(signal);
    if (removed.partitions + removed.chunks > 0) log.info(removed, 'Old log lines were removed.');
    const old = await ofJobs.pass(signal);
    if (old.days + old.jobs > 0) log.info(old, 'Old jobs were removed.');
    const events = await untilDone(signal, (limit) => removeOldAuditEvents(db, { days: auditRetentionDays, limit }));
    if (events > 0) log.info({ events }, 'Old audit events were removed.');
    const notifications = await untilDone(signal, (limit) =>
      removeOldNotifications(db, { days: notificationRetentionDays, limit }),
    );
    if (notifications > 0) log.info({ notifications }, 'Old notifications were removed.');
    const deliveries = await untilDone(signal, (limit) =>
      removeOldDeliveries(db, { days: ALERT_DELIVERY_DAYS, limit }),
    );
    if (deliveries > 0) log.info({ deliveries }, 'Old alert deliveries were removed.');
    await untilDone(signal, (limit) => removeDeletedChannels(db, { days: ALERT_DELIVERY_DAYS, limit }));
    await untilDone(signal, (limit) => removeOldIncidents(db, { days: jobRetentionDays, limit }));
    await untilDone(signal, (limit) => removeOldOutages(db, { days: jobRetentionDays, limit }));
  });
}

/**
 * Publishes the end-of-log markers of logs that are still open: the marker was lost, or a process
 * crashed between the end of a job and its marker. No worker still publishes lines of these logs,
 * because its lease was lost long before.
 */
async function runOpenEnds({ db, bus, log }: Parts, signal: AbortSignal): Promise<void> {
  let after = NO_ID;
  await repeat({ log, what: 'Publishing the ends of logs', everyMs: OPEN_SECONDS * 1_000, signal }, async () => {
    const ids = await openEnds(db, { seconds: OPEN_SECONDS, after, limit: ENDS_PER_LOOK });
    await publishToBus(bus, { ...noEffects, logEnds: ids });
    // Moves through all open logs: while no worker stores lines, the same ones stay open.
    after = ids.length === ENDS_PER_LOOK ? (ids.at(-1) ?? NO_ID) : NO_ID;
  });
}

const OPEN_SECONDS = 60;
const ENDS_PER_LOOK = 1_000;

/** Removes in steps, so that no statement takes long. Returns how many rows it removed. */
async function untilDone(signal: AbortSignal, remove: (limit: number) => Promise<number>): Promise<number> {
  let count = 0;
  for (let removed = OLD_ROWS_PER_STEP; removed === OLD_ROWS_PER_STEP && !signal.aborted; count += removed)
    removed = await remove(OLD_ROWS_PER_STEP);
  return count;
}

const OLD_ROWS_PER_STEP = 1_000;
