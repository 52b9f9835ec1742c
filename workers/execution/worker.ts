import { hostname } from 'node:os';
import type { Db } from '../../db/client.ts';
import { type ClaimedJob, claimJobs } from '../../db/jobs/claim.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { missPings } from '../../db/pings/miss.ts';
import { mergeEffects, noEffects } from '../../domain/effects.ts';
import { decodeEvent } from '../../domain/events.ts';
import { CANCEL_CHANNEL, QUEUED_LOST, SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { HostAndPort } from '../../domain/network/host-port.ts';
import type { NetworkPolicy } from '../../domain/network/networks.ts';
import { type Push, pushOf } from '../../domain/payload/push.ts';
import { unlessAborted } from '../../platform/async/abort.ts';
import { createBatcher } from '../../platform/async/batcher.ts';
import { defaultDeadline, settledBefore } from '../../platform/async/deadline.ts';
import { createBackoff } from '../../platform/async/retry.ts';
import { publishEffects } from '../../platform/publish.ts';
import { attemptAfterFailure } from '../shared/attempt-after-failure.ts';
import { createCapacity } from '../shared/capacity.ts';
import { isFreshSince, keepLeases, type StopReason } from '../shared/leases.ts';
import { settledLinesBefore } from '../shared/lines-before.ts';
import { createPublisher } from '../shared/log-publisher.ts';
import type { Parts, Worker } from '../shared/parts.ts';
import { type CheckLine, type CheckResult, runCheck } from './check.ts';
import { missedPing } from './checks/push.ts';
import { createDeferredJobs, type Entry } from './deferred-jobs.ts';
import { createFinisher, type Finished } from './finish.ts';
import { type RunningCheck, startLiveLines } from './live-lines.ts';
import { createConnectivity } from './network/connectivity.ts';
import { createOutageRecorder } from './network/outages.ts';
import { createPayloadCache, type Runnable } from './payload-cache.ts';
import { createPlatformChecks } from './platform-checks.ts';
import { warmUpExecution } from './warm-up.ts';

/**
 * Jobs in one statement; more gains nothing, fewer loses (250: 13,600 jobs a second, 1,000:
 * 17,600).
 */
const SET_SIZE_MAX = 1_000;
/** Sets in flight: each hides the others' round trips. */
const SETS_IN_FLIGHT = 2;
/** How many partitions give their jobs to one claim. */
const PARTITIONS_AT_ONCE = 12;
/**
 * Checks at once. They mostly wait for slow endpoints, and take some kilobytes and a socket each.
 */
const CHECKS_MAX = 4_000;

export interface ExecutionParts extends Parts {
  allow: NetworkPolicy;
  /** Services by which to tell a dead host from a dead network. */
  connectivityTargets?: readonly HostAndPort[] | undefined;
  /** The most checks at once. */
  checksMax?: number;
  /** The most checks of one user at once. */
  checksPerUserMax?: number | undefined;
}

/** A job to claim, of one of the batches that wait for a claim. */
interface Wanted {
  entry: Entry;
  batch: { claimed: () => void; failed: (error: unknown) => void };
}

/**
 * Runs HEARTBEAT jobs. It claims events as they come while their users have capacity. It defers the
 * jobs of other users, which block no event behind them.
 */
export async function startExecution(parts: ExecutionParts): Promise<Worker> {
  const { db, bus, cache, log, owner, allow, checksMax = CHECKS_MAX, checksPerUserMax } = parts;
  await warmUpExecution(parts);
  const halt = new AbortController();
  const payloads = createPayloadCache(db, parts.sealer);
  const platform = createPlatformChecks(parts);
  const outages = createOutageRecorder({ db, log, host: hostname() });
  const connectivity = createConnectivity({ witnesses: parts.connectivityTargets ?? [], log, outages });
  const capacity = createCapacity({ size: checksMax, perUserMax: checksPerUserMax, onRelease: claimDeferred });
  const deferred = createDeferredJobs();
  const closing = new AbortController();
  const deferredBackoff = createBackoff({ log, what: 'Claiming deferred heartbeats' });
  let claimingDeferred = 0;
  const leases = keepLeases({ db, log });
  const finish = createFinisher(parts, halt.signal);
  const running = new Set<RunningCheck & { stop: AbortController | undefined }>();
  const stopLiveLines = startLiveLines({ bus, log, running, isFresh: leases.isFresh });

  const ending = createBatcher<Finished>({
    sizeMax: SET_SIZE_MAX,
    inFlightMax: SETS_IN_FLIGHT,
    async write(set) {
      await finish(set);
      for (const { job } of set) leases.drop(job);
      capacity.release(set.map(({ job }) => job.userId));
    },
  });

  /**
   * Claims what came from all partitions together, at most SET_SIZE_MAX at once: a claim of many
   * jobs costs little more than one of few.
   */
  const claiming = createBatcher<Wanted>({
    sizeMax: SET_SIZE_MAX,
    inFlightMax: SETS_IN_FLIGHT,
    async write(wanted) {
      const batches = new Set(wanted.map(({ batch }) => batch));
      try {
        await claim(wanted.map(({ entry }) => entry));
        for (const { batch } of wanted) batch.claimed();
      } catch (error) {
        for (const batch of batches) batch.failed(error);
      }
    },
  });

  /** Resolves when these are claimed. Rejects when some were not. */
  function claimGathered(entries: Entry[]): Promise<void> {
    return new Promise((resolve, reject) => {
      let left = entries.length;
      const batch = {
        claimed: () => {
          left -= 1;
          if (left === 0) resolve();
        },
        failed: reject,
      };
      for (const entry of entries) claiming.add({ entry, batch });
    });
  }

  /**
   * Claims jobs whose capacity is already taken. Rejects when the database is away, and keeps none
   * of them.
   */
  async function claim(set: Entry[]): Promise<void> {
    let claimed: ClaimedJob[] = [];
    let effects = noEffects;
    try {
      ({ claimed, effects } = await claimJobs(db, [...new Set(set.map(({ id }) => id))], { owner }));
      const loaded = await payloads.load(claimed);
      // A check cannot be fenced. It does not begin when the answer came so late that the job may
      // be another worker's by now.
      if (claimed[0] !== undefined && !isFreshSince(claimed[0].askedAt)) throw new Error('The claim took too long.');
      if (halt.signal.aborted) throw new Error('The worker has stopped.');
      releaseUnused(set, claimed);
      // One reading of the platform serves a whole set.
      const platformCheck = once(() => runCheck({ kind: 'HEARTBEAT' }, { allow, platform, signal: halt.signal }));
      const missed = await missedPings(db, claimed, loaded);
      for (const [index, job] of claimed.entries()) void run(job, loaded[index], missed.get(job.id) ?? platformCheck);
    } catch (error) {
      capacity.release(set.map(({ userId }) => userId));
      // If this fails too, the leases expire.
      await publishEffects(parts, (await returnJobs(db, claimed)).effects);
      throw error;
    }
    await publishEffects(parts, effects);
  }

  /**
   * Each claimed job takes one place of its user, whom events of older versions do not name. Ids
   * that were not claimed, or came twice, take none.
   */
  function releaseUnused(set: Entry[], claimed: ClaimedJob[]): void {
    const owners = new Map(claimed.map(({ id, userId }) => [id, userId]));
    const unused: string[] = [];
    for (const { id, userId } of set) {
      const owner = owners.get(id);
      if (owner === undefined) unused.push(userId);
      else capacity.move(userId, owner);
      owners.delete(id);
    }
    capacity.release(unused);
  }

  /** Claims deferred jobs whose users have capacity again. */
  function claimDeferred(): void {
    while (deferred.size > 0 && claimingDeferred < SETS_IN_FLIGHT && !closing.signal.aborted) {
      const set = deferred.next(SET_SIZE_MAX, capacity.take);
      if (set.length === 0) return;
      claimingDeferred += 1;
      claim(set)
        .then(deferredBackoff.reset)
        .catch(async (error) => {
          for (const entry of set) deferred.add(entry);
          await deferredBackoff.wait(error, closing.signal);
        })
        .finally(() => {
          claimingDeferred -= 1;
          claimDeferred();
        });
    }
  }

  /**
   * Never rejects. The batcher writes the job's end. A lost job is not this worker's concern any
   * more.
   */
  async function run(
    job: ClaimedJob,
    runnable: Runnable | undefined,
    platformCheck: () => CheckResult | Promise<CheckResult>,
  ): Promise<void> {
    const stop = runnable?.payload?.endpoint === undefined ? undefined : new AbortController();
    const lost = job.linesBefore === undefined ? new AbortController() : undefined;
    let stopped: StopReason | undefined;
    const { linesBefore } = job;
    const own = { job, stop, lines: firstLines(job), linesBefore, sent: 0, mayHavePrinted: false, isSlow: false };
    running.add(own);
    leases.hold(job, (reason) => {
      stopped = reason;
      stop?.abort();
      if (reason === 'LOST') lost?.abort();
    });
    const settled = lost === undefined ? undefined : settle(own, lost.signal);
    const result = await check(own, runnable, platformCheck);
    await settled;
    if (!running.delete(own)) return; // the drain returned it
    if (stopped === 'LOST' || own.linesBefore === undefined) return capacity.release([job.userId]);
    ending.add({
      job,
      linesBefore: own.linesBefore,
      // Jobs share the lines of a check of the platform.
      lines: own.lines.length === 0 || own.lines === result.lines ? result.lines : [...own.lines, ...result.lines],
      sent: own.sent,
      outcome: stopped === 'CANCELED' ? { status: 'CANCELED' } : toOutcome(result),
    });
  }

  /**
   * Learns how many lines earlier attempts printed. The number stays undefined when the job is lost
   * before that is known.
   */
  async function settle(own: RunningCheck, lost: AbortSignal): Promise<void> {
    const { job } = own;
    const signal = AbortSignal.any([halt.signal, lost]);
    const publish = createPublisher({ bus, log, isFresh: () => leases.isFresh(job), signal });
    own.linesBefore = await settledLinesBefore({ db, log, publish, signal }, job).catch(unlessAborted(signal));
  }

  function check(
    { job, stop, lines }: { job: ClaimedJob; stop: AbortController | undefined; lines: CheckLine[] },
    runnable: Runnable | undefined,
    platformCheck: () => CheckResult | Promise<CheckResult>,
  ): CheckResult | Promise<CheckResult> {
    if (runnable === undefined) return PAYLOAD_IS_GONE;
    if (runnable.payload === undefined) return failedUnread(runnable.unreadable);
    if (stop === undefined) return platformCheck();
    const { payload, mask, secretHeaders } = runnable;
    const context = { allow, platform, connectivity, signal: stop.signal, mask, secretHeaders };
    return runCheck(payload, { ...context, userId: job.userId, lines });
  }

  const unsubscribe = await cache.subscribe(CANCEL_CHANNEL, leases.onCancelHint);
  const consumer = await bus.consume({
    topic: 'workflows',
    group: 'execution',
    concurrency: PARTITIONS_AT_ONCE,
    async onBatch(messages, signal) {
      const entries = messages.flatMap(heartbeats);
      for (let at = 0; at < entries.length; ) {
        await capacity.room(signal);
        const set: Entry[] = [];
        for (; at < entries.length && set.length < SET_SIZE_MAX && capacity.free > 0; at += 1) {
          const entry = entries[at];
          if (entry === undefined) continue;
          if (capacity.take(entry.userId)) set.push(entry);
          else deferred.add(entry);
        }
        if (set.length > 0) await claimGathered(set);
      }
    },
  });

  // A process that crashed may have deferred jobs.
  await cache.publish(SCHEDULE_CHANNEL, QUEUED_LOST);

  return {
    async close(deadline = defaultDeadline()) {
      await consumer.close(deadline);
      closing.abort();
      await settledBefore(republish(deferred.clear()), deadline);
      if (!(await settledBefore(capacity.idle(), deadline))) returnRunning();
      await capacity.idle();
      await ending.drained();
      await stopLiveLines();
      unsubscribe();
      await Promise.all([settledBefore(leases.close(), deadline), outages.close(deadline)]);
    },
  };

  /** Puts deferred jobs back on the bus for another worker. */
  async function republish(entries: Entry[]): Promise<void> {
    if (entries.length === 0) return;
    const dispatched = entries.map((entry) => ({ ...entry, kind: 'HEARTBEAT' as const }));
    await publishEffects(parts, { ...noEffects, dispatched });
  }

  /** Checks that outlast the drain run again elsewhere. They lose no attempt. */
  function returnRunning(): void {
    halt.abort();
    const checks = [...running];
    for (const { stop } of checks) stop?.abort();
    running.clear();
    for (const { job } of checks) leases.drop(job);
    const ofThose = (printed: boolean) =>
      checks.flatMap(({ job, mayHavePrinted }) => (mayHavePrinted === printed ? [job] : []));
    Promise.all([true, false].map((printed) => returnJobs(db, ofThose(printed), { printed })))
      .then((returned) => publishEffects(parts, mergeEffects(...returned.map(({ effects }) => effects))))
      .catch((error) => log.warn({ err: error }, 'Returning heartbeats failed; their leases expire soon.'))
      .finally(() => capacity.release(checks.map(({ job }) => job.userId)));
  }
}

/** What the jobs of push heartbeats among these say. Nearly always there are none. */
async function missedPings(
  db: Db,
  claimed: ClaimedJob[],
  loaded: (Runnable | undefined)[],
): Promise<Map<string, () => CheckResult>> {
  const pushes = new Map<string, Push>();
  for (const [index, { id }] of claimed.entries()) {
    const push = loaded[index]?.payload?.push;
    if (push) pushes.set(id, pushOf(push));
  }
  if (pushes.size === 0) return new Map();
  const found = await missPings(
    db,
    claimed.filter(({ id }) => pushes.has(id)),
  );
  return new Map(
    [...pushes].flatMap(([id, push]) => {
      const missed = found.get(id);
      return missed ? [[id, () => missedPing(push, missed)]] : [];
    }),
  );
}

function firstLines(job: ClaimedJob): CheckLine[] {
  if (job.failureBefore === undefined) return [];
  return [{ stream: 'STDERR', timestamp: new Date(), text: attemptAfterFailure(job) }];
}

const PAYLOAD_IS_GONE = failedUnread('What this job should run is not stored any more.');

function failedUnread(message: string): CheckResult {
  return { ok: false, reason: 'SYSTEM', message, lines: [] };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function heartbeats(message: Buffer): Entry[] {
  const event = decodeEvent(message);
  if (event?.type !== 'JOBS_QUEUED' || event.kind !== 'HEARTBEAT') return [];
  return event.ids.map((id, index) => ({ id, userId: event.users?.[index] ?? '' }));
}

function toOutcome(result: CheckResult): Finished['outcome'] {
  return result.ok
    ? { status: 'COMPLETED' }
    : {
        status: 'FAILED',
        failureReason: result.reason,
        failureMessage: result.message,
        isFinal: result.isFinal,
      };
}
