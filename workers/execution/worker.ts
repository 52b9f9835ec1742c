import { type ClaimedJob, claimJobs, returnJobs } from '../../db/leases.ts';
import { generationKey } from '../../db/payloads.ts';
import { decodeEvent } from '../../domain/events.ts';
import { CANCEL_CHANNEL } from '../../domain/hints.ts';
import type { NetworkPolicy } from '../../domain/networks.ts';
import { announce } from '../announce.ts';
import { createBatcher } from '../batcher.ts';
import { createCapacity } from '../capacity.ts';
import { keepLeases, type StopReason } from '../leases.ts';
import { settledLinesBefore } from '../log-seam.ts';
import type { Parts, Worker } from '../parts.ts';
import { createPublisher } from '../publish.ts';
import { type CheckResult, runCheck } from './check.ts';
import { createFinisher, type Finished } from './finish.ts';
import { createPayloadCache, type Runnable } from './payload-cache.ts';
import { createPlatformChecks } from './platform-checks.ts';

/** Jobs in one statement; more gains nothing, fewer loses (250: 13,600 jobs a second, 1,000: 17,600). */
const SET_SIZE_MAX = 1_000;
/** Sets in flight, which hide each other's round trips. */
const SETS_IN_FLIGHT = 2;
/** Checks at once: mostly waiting for slow endpoints, some kilobytes and a socket each. */
const CHECKS_MAX = 4_000;
/** A drain waits so long for checks that run; what is left then goes back, to be run by another worker. */
const DRAIN_MS = 10_000;

/** Runs HEARTBEAT jobs. */
export async function startExecution(parts: Parts & { allow: NetworkPolicy }): Promise<Worker> {
  const { db, bus, cache, log, owner, allow } = parts;
  const halt = new AbortController();
  const payloads = createPayloadCache(db, parts.sealer);
  const platform = createPlatformChecks(parts);
  const capacity = createCapacity(CHECKS_MAX);
  const leases = keepLeases({ db, log });
  const finish = createFinisher(parts, halt.signal);
  const running = new Map<string, { job: ClaimedJob; stop: AbortController | undefined }>();

  const ending = createBatcher<Finished>({
    sizeMax: SET_SIZE_MAX,
    inFlightMax: SETS_IN_FLIGHT,
    async write(set) {
      await finish(set);
      for (const { job } of set) leases.drop(job.id);
      capacity.release(set.length);
    },
  });

  /** Rejects when the database is away; the batch then comes again, and nothing is kept of it here. */
  async function claim(ids: string[]): Promise<void> {
    let claimed: ClaimedJob[] = [];
    try {
      claimed = (await claimJobs(db, ids, { owner })).claimed;
      const loaded = await payloads.load(claimed);
      capacity.release(ids.length - claimed.length);
      // One look at the platform is enough for all of a set.
      const platformCheck = once(() => runCheck({ kind: 'HEARTBEAT' }, { allow, platform, signal: halt.signal }));
      for (const job of claimed) void run(job, loaded.get(generationKey(job)), platformCheck);
    } catch (error) {
      capacity.release(ids.length);
      await returnJobs(db, claimed); // where this fails too, the leases expire
      throw error;
    }
    await announce(
      cache,
      claimed.map(({ userId, id }) => ({ userId, jobs: [id] })),
    );
  }

  /** Never rejects. The job's end is written by the batcher; a lost job is nobody's business here any more. */
  async function run(
    job: ClaimedJob,
    runnable: Runnable | undefined,
    platformCheck: () => Promise<CheckResult>,
  ): Promise<void> {
    const stop = runnable?.payload?.endpoint === undefined ? undefined : new AbortController();
    const lost = job.linesBefore === undefined ? new AbortController() : undefined;
    let stopped: StopReason | undefined;
    running.set(job.id, { job, stop });
    leases.hold(job, (reason) => {
      stopped = reason;
      stop?.abort();
      if (reason === 'LOST') lost?.abort();
    });
    const result = await check(runnable, stop?.signal, platformCheck);
    const linesBefore = lost === undefined ? job.linesBefore : await settle(job, lost.signal);
    if (!running.delete(job.id)) return; // handed back by the drain
    if (stopped === 'LOST' || linesBefore === undefined) return capacity.release(1);
    ending.add({
      job,
      linesBefore,
      lines: result.lines,
      outcome: stopped === 'CANCELED' ? { status: 'CANCELED' } : toOutcome(result),
    });
  }

  /** How many lines earlier attempts have printed; undefined when the job is lost before that is known. */
  async function settle(job: ClaimedJob, lost: AbortSignal): Promise<number | undefined> {
    const signal = AbortSignal.any([halt.signal, lost]);
    const publish = createPublisher({ bus, log, isFresh: () => leases.isFresh(job.id), signal });
    try {
      return await settledLinesBefore({ db, log, publish, signal }, job);
    } catch (error) {
      if (!signal.aborted) throw error;
      return undefined;
    }
  }

  function check(
    runnable: Runnable | undefined,
    signal: AbortSignal | undefined,
    platformCheck: () => Promise<CheckResult>,
  ): CheckResult | Promise<CheckResult> {
    if (runnable === undefined) return PAYLOAD_IS_GONE;
    if (runnable.payload === undefined) return failedUnread(runnable.unreadable);
    if (signal === undefined) return platformCheck();
    const { payload, mask } = runnable;
    return runCheck(payload, { allow, platform, signal, mask });
  }

  const unsubscribe = await cache.subscribe(CANCEL_CHANNEL, leases.onCancelHint);
  const consumer = await bus.consume({
    topic: 'workflows',
    group: 'execution',
    concurrency: SETS_IN_FLIGHT,
    async onBatch(messages, signal) {
      const ids = messages.flatMap(heartbeatIds);
      for (let at = 0; at < ids.length; ) {
        const taken = await capacity.take(Math.min(ids.length - at, SET_SIZE_MAX), signal);
        await claim(ids.slice(at, at + taken));
        at += taken;
      }
    },
  });

  return {
    async close() {
      await consumer.close();
      const late = setTimeout(handBack, DRAIN_MS);
      await capacity.idle();
      clearTimeout(late);
      await ending.drained();
      unsubscribe();
      await leases.close();
    },
  };

  /** Checks that outlast the drain are run again elsewhere, without an attempt lost. */
  function handBack(): void {
    halt.abort();
    const jobs = [...running.values()].map(({ job }) => job);
    for (const { stop } of running.values()) stop?.abort();
    running.clear();
    for (const { id } of jobs) leases.drop(id);
    returnJobs(db, jobs)
      .catch((error) => log.warn({ err: error }, 'Handing back heartbeats failed; their leases expire soon.'))
      .finally(() => capacity.release(jobs.length));
  }
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

function heartbeatIds(message: Buffer): string[] {
  const event = decodeEvent(message);
  return event?.type === 'JOBS_QUEUED' && event.kind === 'HEARTBEAT' ? event.ids : [];
}

function toOutcome(result: CheckResult): Finished['outcome'] {
  return result.ok
    ? { status: 'COMPLETED' }
    : { status: 'FAILED', failureReason: result.reason, failureMessage: result.message };
}
