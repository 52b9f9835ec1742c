import { type ClaimedBuild, claimBuilds } from '../../../db/builds/claim.ts';
import { type BuildOutcome, endBuild } from '../../../db/builds/finish.ts';
import { releaseBuilds, renewBuildLeases } from '../../../db/builds/leases.ts';
import { enterTurns, peekTurn, takeTurn } from '../../../db/jobs/turns.ts';
import type { LogSource } from '../../../domain/logs/line.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import { defaultDeadline, settledBefore } from '../../../platform/async/deadline.ts';
import type { Instant } from '../../../platform/async/instant.ts';
import { retry } from '../../../platform/async/retry.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { publishEffects } from '../../../platform/publish.ts';
import { createCapacity } from '../../shared/capacity.ts';
import { isFreshSince, keepLeases } from '../../shared/leases.ts';
import { settledLinesBefore } from '../../shared/lines-before.ts';
import { type ChunkWriter, createChunkWriter } from '../../shared/log-collector/chunk-writer.ts';
import { createPublisher } from '../../shared/log-publisher.ts';
import type { Parts } from '../../shared/parts.ts';
import { createPoller } from '../../shared/poller.ts';
import type { UserNetworks } from '../engine/networks.ts';
import type { Removals } from '../engine/removals.ts';
import type { BuildPolicy } from './bounds.ts';
import { type BuildResult, buildImage } from './build.ts';
import type { ImageSource } from './image-source.ts';
import { createLastResort } from './last-resort.ts';
import type { Templates } from './template.ts';

export interface Builds {
  /** Call it when a turn may wait. It takes turns while there is capacity. */
  look(): void;
  onCancelHint(message: string): void;
  /** Stops the running builds. They become QUEUED again, and the attempt does not count. */
  close(deadline?: AbortSignal): Promise<void>;
}

/** Pulls wait for registries and disks: more of them at once make each one slower. */
const BUILDS_MAX = 4;

interface Limits {
  installation: string;
  networks: UserNetworks;
  removals: Removals;
  policy: BuildPolicy;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
  buildsPerUserMax?: number | undefined;
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
  const lastResort = createLastResort({ db, owner, now: parts.now });

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
    const next = await peekTurn(db, 'BUILD', capacity.full());
    const hasEngine = next !== undefined && (await docker.isUp());
    if (next === undefined || hasEngine) lastResort.reset();
    if (next === undefined || !(hasEngine || (await lastResort.mayTake(next)))) return false;
    const taken = await takeTurn(db, 'BUILD', capacity.full(), (tx, ids) => claimBuilds(tx, ids, { owner }));
    if (taken === undefined) return false;
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

  /**
   * Makes the build QUEUED again, with a new turn. Returns false when it could not: the build is
   * lost, or this was the last attempt.
   */
  async function putBack(build: ClaimedBuild, options?: { counted: boolean }): Promise<boolean> {
    const { ids, effects } = await releaseBuilds(db, [build], options);
    await enterTurns(db, 'BUILD', ids);
    await publishEffects(parts, effects);
    return ids.length > 0;
  }

  async function run(build: ClaimedBuild, hadEngine: boolean, signal: AbortSignal): Promise<void> {
    const publish = createPublisher({ bus, log, isFresh: () => leases.isFresh(build), signal });
    const writer = createChunkWriter({
      sourceId: build.id,
      attempt: build.attempt,
      linesBefore: await settledLinesBefore({ db, log, publish, signal }, build),
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
      isFresh: () => leases.isFresh(build),
      log,
      say: write('SYSTEM'),
      output: write('PROGRAM'),
      signal,
    });
    if ('imageId' in result) await templates.store(build, build.payload, result);
    const logLineCount = await ended(writer);
    const isGone = hadEngine && 'cause' in result && result.cause?.isAway === true;
    if (isGone && (await leave(build, signal))) return;
    await end(build, toOutcome(build, result, logLineCount), signal);
  }

  /**
   * Passes the build on when its engine went away in the middle, which is not the build's fault: a
   * worker that has an engine tries again. Returns false if this was the last attempt.
   */
  async function leave(build: ClaimedBuild, signal: AbortSignal): Promise<boolean> {
    const retries = { log, what: 'Handing on a build whose engine is away', signal };
    const isLeft = await retry(retries, () => putBack(build, { counted: true }));
    if (!isLeft) return false;
    leases.drop(build);
    log.warn(
      { buildId: build.id, attempt: build.attempt },
      'The Docker engine went away during a build, which is tried again.',
    );
    return true;
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

    async close(deadline = defaultDeadline()) {
      await settledBefore(poller.close(), deadline);
      halt.abort();
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
  result: BuildResult,
  logLineCount: number,
): BuildOutcome {
  const common = { id, workflowId, leaseToken, logLineCount };
  return 'imageId' in result
    ? { ...common, status: 'COMPLETED', ...result }
    : { ...common, status: 'FAILED', error: result.error.replaceAll('\0', '') };
}
