import { type ClaimedBuild, claimBuilds } from '../../../db/builds/claim.ts';
import { type BuildOutcome, endBuild } from '../../../db/builds/finish.ts';
import { releaseBuilds, renewBuildLeases } from '../../../db/builds/leases.ts';
import { endWaitsForEngine, postponeBuild } from '../../../db/builds/postpone.ts';
import { enterTurns, passTurn, peekTurn, peekTurnFor, takeTurn } from '../../../db/jobs/turns.ts';
import type { ImagePatterns } from '../../../domain/images/registry-allow.ts';
import type { LogSource } from '../../../domain/logs/line.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import { defaultDeadline, settledBefore } from '../../../platform/async/deadline.ts';
import type { Instant } from '../../../platform/async/instant.ts';
import { retry } from '../../../platform/async/retry.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';
import { publishEffects } from '../../../platform/publish.ts';
import { createCapacity } from '../../shared/capacity.ts';
import { isFreshSince, keepLeases } from '../../shared/leases.ts';
import { settledLinesBefore } from '../../shared/lines-before.ts';
import { type ChunkWriter, createChunkWriter } from '../../shared/log-collector/chunk-writer.ts';
import { createPublisher } from '../../shared/log-publisher.ts';
import type { Parts } from '../../shared/parts.ts';
import { createPoller } from '../../shared/poller.ts';
import type { UserNetworks } from '../engine/networks.ts';
import { engineAway } from '../engine/outage.ts';
import { reachedEngine } from '../engine/reached-engine.ts';
import type { Removals } from '../engine/removals.ts';
import type { BuildPolicy } from './bounds.ts';
import { type BuildResult, buildImage } from './build.ts';
import type { ImageSource } from './image-source.ts';
import { createLastResort } from './last-resort.ts';
import { createBuildPlacement } from './placement.ts';
import type { Templates } from './template.ts';
import type { Outage } from './waits.ts';

export interface Builds {
  /** Call it when a turn may wait. It takes turns while there is capacity. */
  look(): void;
  onCancelHint(message: string): void;
  /** The engine answers: builds that wait for one need not wait longer. */
  engineIsBack(): Promise<void>;
  /** Stops the running builds. They become QUEUED again, and the attempt does not count. */
  close(deadline?: AbortSignal): Promise<void>;
}

/** Pulls wait for registries and disks: more of them at once make each one slower. */
const BUILDS_MAX = 4;
/** Builds beyond these are found when the sweep looks. */
const REMINDERS_MAX = 1_000;

interface Limits {
  installation: string;
  networks: UserNetworks;
  removals: Removals;
  policy: BuildPolicy;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
  buildsPerUserMax?: number | undefined;
  localImages: ImagePatterns;
  /** The clocks of this process. */
  now?: (() => Instant) | undefined;
}

/** The builds that this process runs. */
export function createBuilds(
  parts: Parts & Limits & { docker: Docker; images: ImageSource; templates: Templates },
): Builds {
  const { db, bus, docker, log, owner, templates, sealer } = parts;
  const poller = createPoller({ log, what: 'Taking turns of builds', take: takeNext });
  const capacity = createCapacity({ size: BUILDS_MAX, perUserMax: parts.buildsPerUserMax, onRelease: poller.poll });
  const leases = keepLeases({ db, log, renewHeld: renewBuildLeases });
  const running = new Set<{ stop: AbortController; settled: Promise<void> }>();
  const halt = new AbortController();
  const placement = createBuildPlacement(parts);
  const lastResort = createLastResort({ db, owner, now: parts.now });
  const reminders = new Set<NodeJS.Timeout>();

  function launch(build: ClaimedBuild, hadEngine: boolean): void {
    const stop = new AbortController();
    leases.hold(build, () => stop.abort()); // lost, or canceled: its row says so already
    if (halt.signal.aborted) stop.abort(); // the claim came after the close: the build goes back
    const own = { stop, settled: Promise.resolve() };
    running.add(own);
    own.settled = run(build, hadEngine, stop.signal)
      .catch((error) => {
        if (!stop.signal.aborted)
          log.error({ err: error, buildId: build.id }, 'A build failed unforeseen; it is tried again.');
      })
      .then(() => giveUp(build))
      .finally(() => {
        running.delete(own);
        capacity.release([build.userId]);
      });
  }

  /** Takes one turn. Returns whether there may be another one to take now. */
  async function takeNext(): Promise<boolean> {
    if (capacity.free === 0) return false;
    const fullUsers = capacity.full();
    const first = await peekTurn(db, 'BUILD', fullUsers);
    const storeId = first === undefined ? undefined : (await reachedEngine(docker))?.storeId;
    if (first === undefined || storeId !== undefined) lastResort.reset();
    if (first === undefined || !(storeId !== undefined || (await lastResort.mayTake(first)))) return false;
    const next =
      storeId === undefined ? { id: first, passedBy: {} } : await peekTurnFor(db, 'BUILD', fullUsers, storeId);
    if (next === undefined) return false;
    const pass =
      storeId === undefined
        ? undefined
        : await placement.passOf(next, storeId).catch((error: unknown) => {
            // The build meets the same fault, and says so. Otherwise it would hold up all others.
            if (isEngineError(error) && !error.isAway) return undefined;
            throw error;
          });
    if (storeId !== undefined && pass !== undefined) {
      await passTurn(db, next, { by: storeId, ...pass });
      return true;
    }
    const only = { only: next.id };
    const taken = await takeTurn(db, 'BUILD', fullUsers, (tx, ids) => claimBuilds(tx, ids, { owner }), only);
    if (taken === undefined) return true; // another worker has it: there may be a next one
    const hasEngine = storeId !== undefined;
    lastResort.taken();
    for (const build of taken.claimed) {
      if (!isFreshSince(build.askedAt)) {
        await putBack(build); // the answer came late: another worker may have the build
        continue;
      }
      capacity.take(build.userId);
      launch(build, hasEngine);
    }
    await publishEffects(parts, taken.effects);
    return true;
  }

  /** Makes the build QUEUED again, with a new turn. */
  async function putBack(build: ClaimedBuild): Promise<void> {
    const { ids, effects } = await releaseBuilds(db, [build]);
    await enterTurns(db, 'BUILD', ids);
    await publishEffects(parts, effects);
  }

  async function run(build: ClaimedBuild, hadEngine: boolean, signal: AbortSignal): Promise<void> {
    const publish = createPublisher({ bus, log, isFresh: () => leases.isFresh(build), signal });
    const writer = createChunkWriter({
      sourceId: build.id,
      attempt: build.attempt,
      linesBefore: await settledLinesBefore({ db, log, publish, signal }, { ...build, epoch: build.attempt }),
      bytesMax: parts.maxLogBytes,
      publish,
    });
    const write = (source: LogSource) => (line: string) => {
      writer.say(line, { source });
      return writer.room();
    };
    const result = await buildImage({
      docker,
      sealer,
      images: parts.images,
      networks: parts.networks,
      removals: parts.removals,
      policy: parts.policy,
      owner,
      installation: parts.installation,
      maxResources: parts.maxResources,
      maxSeconds: parts.maxBuildSeconds,
      build,
      hadEngine,
      isFresh: () => leases.isFresh(build),
      log,
      say: write('SYSTEM'),
      output: write('PROGRAM'),
      signal,
    });
    if ('imageId' in result) await templates.store(build, build.payload, result);
    const logLineCount = await ended(writer);
    if ('outage' in result) await postpone(build, result.outage, signal);
    else await end(build, toOutcome(build, result, logLineCount), signal);
  }

  /** Gives up the place: an outage lasts as long as it lasts. */
  async function postpone(build: ClaimedBuild, outage: Outage, signal: AbortSignal): Promise<void> {
    const { message: waitsFor, waitSeconds, isOfEngine: awaitsEngine, counted } = outage;
    const retries = { log, what: 'Postponing a build', signal };
    const postponed = { waitSeconds, waitsFor: waitsFor.replaceAll('\0', ''), awaitsEngine, counted };
    const effects = await retry(retries, () => postponeBuild(db, build, postponed));
    leases.drop(build);
    if (effects === undefined) return; // it was lost or canceled
    const line = { buildId: build.id, attempt: build.attempt, waitSeconds, ...(awaitsEngine && { err: engineAway() }) };
    // Once for a build: its own log says each time that it waits.
    log[build.waits === 0 ? 'warn' : 'debug'](line, `A build waits for the end of an outage. ${waitsFor}`);
    await publishEffects(parts, effects);
    remind(build.id, waitSeconds);
  }

  /** Gives the build a turn when it is due. The sweep finds it too, seconds later. */
  function remind(buildId: string, waitSeconds: number): void {
    if (halt.signal.aborted || reminders.size >= REMINDERS_MAX) return;
    const timer = setTimeout(() => {
      reminders.delete(timer);
      enterTurns(db, 'BUILD', [buildId]).then(poller.poll, (error) =>
        log.debug({ err: error, buildId }, 'A build that is due got no turn; the sweep gives it one.'),
      );
    }, waitSeconds * 1_000);
    reminders.add(timer);
  }

  async function end(build: ClaimedBuild, outcome: BuildOutcome, signal: AbortSignal): Promise<void> {
    const retries = { log, what: 'Ending a build', signal, atLeastOnce: true };
    const effects = await retry(retries, () => endBuild(db, outcome));
    if (effects !== undefined) await publishEffects(parts, effects);
    leases.drop(build);
  }

  /** Gives up a build. If it ended here, this changes nothing: its lease is gone. */
  async function giveUp(build: ClaimedBuild): Promise<void> {
    leases.drop(build);
    // It was lost, canceled or failed unforeseen: its lease expires, if it has one, and the sweep
    // decides.
    if (!halt.signal.aborted) return;
    await putBack(build).catch((error) =>
      log.warn({ err: error }, 'A build could not be handed on; its lease expires by itself.'),
    );
  }

  return {
    look: poller.poll,

    onCancelHint: leases.onCancelHint,

    engineIsBack: async () => publishEffects(parts, await endWaitsForEngine(db)),

    async close(deadline = defaultDeadline()) {
      await settledBefore(poller.close(), deadline);
      halt.abort();
      for (const timer of reminders) clearTimeout(timer);
      const left = [...running];
      for (const { stop } of left) stop.abort();
      await settledBefore(Promise.all(left.map(({ settled }) => settled)), deadline);
      await settledBefore(leases.close(), deadline);
    },
  };
}

/** Resolves to the number of the last line, once all lines are on the bus. */
async function ended(writer: ChunkWriter): Promise<number> {
  await writer.end();
  return writer.lastNumber;
}

function toOutcome(
  { id, workflowId, leaseToken }: ClaimedBuild,
  result: Exclude<BuildResult, { outage: Outage }>,
  logLineCount: number,
): BuildOutcome {
  const common = { id, workflowId, leaseToken, logLineCount };
  return 'imageId' in result
    ? { ...common, status: 'COMPLETED', ...result }
    : { ...common, status: 'FAILED', error: result.error.replaceAll('\0', '') };
}
