import { setTimeout as delay } from 'node:timers/promises';
import {
  type BuildOutcome,
  type ClaimedBuild,
  claimBuilds,
  endBuild,
  releaseBuilds,
  renewBuildLeases,
} from '../../db/builds.ts';
import type { Notified } from '../../db/notifications.ts';
import { takeTurn } from '../../db/turns.ts';
import type { ResourceMaximums } from '../../domain/container-schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { LogSource } from '../../domain/line-flags.ts';
import { createBackoff } from '../../platform/backoff.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { announce, notifiedChanges } from '../announce.ts';
import { type ChunkWriter, createChunkWriter } from '../capture/chunk-writer.ts';
import { isFreshSince, keepLeases } from '../leases.ts';
import { settledLinesBefore } from '../log-seam.ts';
import type { Parts } from '../parts.ts';
import { createPublisher } from '../publish.ts';
import { createSlots } from '../slots.ts';
import { createTaker } from '../taker.ts';
import { type BuildResult, buildImage } from './build.ts';
import type { BuildPolicy } from './build-bounds.ts';
import type { ImageSource } from './image-source.ts';
import type { UserNetworks } from './networks.ts';
import type { Templates } from './template.ts';

export interface Builds {
  /** Somebody may wait for a turn: it is taken while slots are free. */
  look(): void;
  onCancelHint(message: string): void;
  /** Stops what runs; it is QUEUED again, and the attempt does not count. */
  close(): Promise<void>;
}

/** Pulls wait for registries and disks; more at once makes each of them slower. */
const BUILDS_MAX = 4;
const CLOSE_MS = 10_000;

interface Limits {
  installation: string;
  networks: UserNetworks;
  policy: BuildPolicy;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
  buildsPerUserMax?: number | undefined;
}

/** The builds that this process runs. */
export function createBuilds(
  parts: Parts & Limits & { docker: Docker; images: ImageSource; templates: Templates },
): Builds {
  const { db, bus, cache, docker, log, owner, templates, sealer } = parts;
  const taker = createTaker({ log, what: 'Taking turns of builds', take: takeNext });
  const slots = createSlots({ size: BUILDS_MAX, perUserMax: parts.buildsPerUserMax, onRelease: taker.look });
  const leases = keepLeases({ db, log, renewHeld: renewBuildLeases });
  const running = new Set<{ stop: AbortController; settled: Promise<void> }>();
  const halt = new AbortController();

  function launch(build: ClaimedBuild): void {
    const stop = new AbortController();
    leases.hold(build, () => stop.abort()); // lost, or canceled: its row says so already
    const held = { stop, settled: Promise.resolve() };
    running.add(held);
    held.settled = run(build, stop.signal)
      .catch((error) => {
        if (!stop.signal.aborted)
          log.error({ err: error, buildId: build.id }, 'A build failed unforeseen; it is tried again.');
      })
      .then(() => giveUp(build))
      .finally(() => {
        running.delete(held);
        slots.release([build.userId]);
      });
  }

  /** Takes one turn. Whether there may be another one to take now. */
  async function takeNext(): Promise<boolean> {
    if (slots.free === 0) return false;
    const claimed = await takeTurn(db, 'BUILD', slots.full(), (tx, ids) => claimBuilds(tx, ids, { owner }));
    for (const build of claimed ?? []) {
      if (!isFreshSince(build.askedAt)) {
        await releaseBuilds(db, [build]); // the answer came late, and the build may be another's by now
        continue;
      }
      slots.take(build.userId);
      launch(build);
    }
    if (claimed !== undefined && claimed.length > 0) await tell(claimed);
    return claimed !== undefined;
  }

  async function run(build: ClaimedBuild, signal: AbortSignal): Promise<void> {
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
    await end(build, toOutcome(build, result, await ended(writer)), signal);
  }

  async function end(build: ClaimedBuild, outcome: BuildOutcome, signal: AbortSignal): Promise<void> {
    const backoff = createBackoff({ log, what: 'Ending a build' });
    for (;;) {
      try {
        const ended = await endBuild(db, outcome);
        if (ended) await tell([build], ended.notified);
        leases.drop(build);
        return;
      } catch (error) {
        await backoff.wait(error, signal);
        signal.throwIfAborted();
      }
    }
  }

  async function tell(changed: ClaimedBuild[], notified: Notified[] = []): Promise<void> {
    await announce(cache, [
      ...changed.map(({ userId, id, workflowId }) => ({ userId, builds: [id], workflows: [workflowId] })),
      ...notifiedChanges(notified),
    ]);
    await cache.publish(SCHEDULE_CHANNEL, ''); // a COMPLETED one makes its first slot due now
  }

  /** Of a build that ended here this changes nothing: its lease is no more. */
  async function giveUp(build: ClaimedBuild): Promise<void> {
    leases.drop(build);
    if (!halt.signal.aborted) return; // lost, canceled or unforeseen: its lease expires, if it has one, and the sweep decides
    await releaseBuilds(db, [build]).catch((error) =>
      log.warn({ err: error }, 'A build could not be handed on; its lease expires by itself.'),
    );
  }

  return {
    look: taker.look,

    onCancelHint: leases.onCancelHint,

    async close() {
      await taker.close();
      halt.abort();
      const left = [...running];
      for (const { stop } of left) stop.abort();
      const limit = new AbortController();
      const all = Promise.all(left.map(({ settled }) => settled));
      await Promise.race([all, delay(CLOSE_MS, undefined, { signal: limit.signal }).catch(() => undefined)]);
      limit.abort();
      await leases.close();
    },
  };
}

/** The number of its last line, once all are on the bus. */
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
