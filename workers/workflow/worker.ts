import { enterTurns } from '../../db/jobs/turns.ts';
import { decodeEvent } from '../../domain/events.ts';
import { CANCEL_CHANNEL } from '../../domain/hints.ts';
import type { ImagePatterns, RegistryPolicy } from '../../domain/images/registry-allow.ts';
import { IMAGE_RETENTION_DAYS } from '../../domain/limits.ts';
import { CONTAINER_POLICY } from '../../domain/payload/container-policy.ts';
import type { ResourceMaximums } from '../../domain/payload/container-schema.ts';
import { defaultDeadline, settledBefore } from '../../platform/async/deadline.ts';
import type { Instant } from '../../platform/async/instant.ts';
import { repeat } from '../../platform/async/repeat.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import type { Parts, Worker } from '../shared/parts.ts';
import { reportWorker } from '../shared/presence.ts';
import { type BuildPolicy, warnOfUnboundBuilds } from './builds/bounds.ts';
import { type Builds, createBuilds } from './builds/builds.ts';
import { createImageSource } from './builds/image-source.ts';
import { createTemplates } from './builds/template.ts';
import { watchDisk } from './engine/disk.ts';
import { createUserNetworks, type UserNetworks } from './engine/networks.ts';
import { ENGINE_IS_AWAY, ENGINE_IS_BACK, engineAway } from './engine/outage.ts';
import { reachedEngine } from './engine/reached-engine.ts';
import { createRemovals, type Removals } from './engine/removals.ts';
import { type ContainerJobs, createContainerJobs } from './jobs/jobs.ts';
import { createRegistries } from './registry/registries.ts';
import { sweepContainers } from './sweeps/containers.ts';
import { sweepImages } from './sweeps/images.ts';
import { sweepPrivatePulls } from './sweeps/private-pulls.ts';
import { sweepPulledImages } from './sweeps/pulled-images.ts';
import { createVolumeRemoval, noteVolumes } from './sweeps/volumes.ts';

export interface WorkflowParts extends Parts {
  /**
   * The engine may come up later. Until then its jobs wait, and other workers claim the builds
   * (builds/last-resort.ts).
   */
  docker: Docker;
  /** Names this installation on a shared engine. All of its workers use the same name. */
  installation: string;
  /** The most containers at once. */
  capacity?: number;
  /** The most containers of one user at once. */
  containersPerUserMax?: number | undefined;
  buildsPerUserMax?: number | undefined;
  /** The operator's maximums. They also limit payloads that were stored before. */
  maxResources?: ResourceMaximums;
  maxJobSeconds?: number | undefined;
  maxBuildSeconds?: number;
  /** How long an image that was pulled stays on the engine after its last use. 0: forever. */
  imageRetentionDays?: number;
  /** The registries that the engine may contact. */
  registryAllow: RegistryPolicy;
  /** Images on the engine that every user may use. */
  localImages: ImagePatterns;
  policy?: BuildPolicy;
  /** The bytes that a container may write to its own layer, where the engine can limit that. */
  maxDiskBytes?: number | undefined;
  /** The clocks of this process. */
  now?: () => Instant;
  /** The most bytes to keep of what one attempt of a job, or a build, prints. */
  maxLogBytes?: number;
}

const CAPACITY = 16;
/** Partitions handled at once. */
const BATCHES_AT_ONCE = 4;
const SWEEP_MS = 5_000;
/** Images cost only disk space, and listing them costs the engine. */
const IMAGE_SWEEP_MS = 60_000;
/** The engine reads every file of every volume for the sizes. */
const SIZES_MS = 600_000;
/** The longest wait after failures of the more frequent tasks. */
const BACKOFF_MS = 10_000;
/** The first wait after a failure is this fraction of the usual one. */
const BACKOFF_STEPS = 50;

/** Builds CONTAINER workflows and runs their jobs on one Docker engine. */
export async function startWorkflow(parts: WorkflowParts): Promise<Worker> {
  const { db, bus, cache, capacity = CAPACITY, policy = CONTAINER_POLICY } = parts;
  const templates = createTemplates(parts);
  const images = createImageSource({ ...parts, registries: createRegistries(parts.registryAllow) });
  const networks = createUserNetworks(parts);
  const removals = createRemovals(parts);
  const disk = watchDisk(parts);
  const own = { ...parts, images, templates, networks, removals, policy, disk };
  const builds = createBuilds(own);
  const jobs = createContainerJobs({ ...own, capacity, perUserMax: parts.containersPerUserMax });
  const stop = new AbortController();
  const reportEnd = await reportWorker(parts, 'workflow', async () => (await reachedEngine(parts.docker))?.storeId);
  const sweeping = sweep({ ...own, jobs, builds }, stop.signal);

  const unsubscribe = await cache.subscribe(CANCEL_CHANNEL, (message) => {
    jobs.onCancelHint(message);
    builds.onCancelHint(message);
  });
  const consumer = await bus.consume({
    topic: 'workflows',
    group: 'workflow',
    concurrency: BATCHES_AT_ONCE,
    async onBatch(messages) {
      const events = messages.flatMap((message) => decodeEvent(message) ?? []);
      await enterTurns(
        db,
        'BUILD',
        events.flatMap((event) => (event.type === 'BUILDS_QUEUED' ? event.ids : [])),
      );
      await enterTurns(
        db,
        'CONTAINER',
        events.flatMap((event) => (event.type === 'JOBS_QUEUED' && event.kind === 'CONTAINER' ? event.ids : [])),
      );
      builds.look();
      jobs.look();
    },
  });

  return {
    async close(deadline = defaultDeadline()) {
      stop.abort();
      // Side by side: neither a broker nor an engine that does not answer delays handing on jobs.
      await Promise.all([
        consumer.close(deadline),
        settledBefore(sweeping, deadline),
        builds.close(deadline),
        jobs.close(deadline),
      ]);
      await removals.close(deadline);
      await settledBefore(disk.close(), deadline);
      await settledBefore(networks.close(), deadline);
      await reportEnd(deadline);
      unsubscribe();
    },
  };
}

/**
 * Keeps the engine in order: at once, then periodically. The first pass adopts what the last worker
 * on this engine left before any new container starts. Each task has its own interval, so a slow
 * one delays no other.
 */
async function sweep(
  parts: WorkflowParts & { jobs: ContainerJobs; builds: Builds; networks: UserNetworks; removals: Removals },
  signal: AbortSignal,
): Promise<void> {
  const { builds, docker, log, networks, policy = CONTAINER_POLICY } = parts;
  const { imageRetentionDays = IMAGE_RETENTION_DAYS } = parts;
  let wasUp: boolean | undefined;
  let wasWarned = false;

  async function containers(): Promise<boolean> {
    const isUp = await docker.isUp();
    if (isUp && wasUp === false) log.info({ engine: docker.address, after: engineAway() }, ENGINE_IS_BACK);
    if (!isUp && wasUp !== false) log.warn({ engine: docker.address, err: engineAway() }, ENGINE_IS_AWAY);
    if (isUp && wasUp !== true) await builds.engineIsBack();
    wasUp = isUp;
    if (!isUp) return false;
    const swept = await sweepContainers(parts);
    if (swept.adopted + swept.removed > 0) log.info(swept, 'Containers of other workers were looked after.');
    if (!wasWarned) await warnOfUnboundBuilds(docker, policy, log);
    wasWarned = true;
    return true;
  }

  async function images(): Promise<void> {
    const removed = await sweepImages(parts);
    if (removed > 0) log.info({ removed }, 'Images that no generation needs any more were removed.');
    const unused = await sweepPulledImages({ ...parts, imageRetentionDays });
    if (unused > 0)
      log.info(
        { removed: unused, days: imageRetentionDays },
        'Pulled images that nothing has used for long were removed.',
      );
  }

  /** What was not done, because the engine is away, is tried again soon. */
  const loop = (what: string, everyMs: number, run: () => Promise<boolean>) => {
    const backoff = { minMs: everyMs / BACKOFF_STEPS, maxMs: Math.max(BACKOFF_MS, everyMs) };
    return repeat({ log, what, everyMs, signal, ...backoff }, async () => ((await run()) ? everyMs : SWEEP_MS));
  };
  const whenUp = (run: () => Promise<unknown>) => async () => {
    if (!(await docker.isUp())) return false;
    await run();
    return true;
  };
  await Promise.all([
    loop('Looking after the containers on the engine', SWEEP_MS, containers),
    loop('Removing volumes from the engine', SWEEP_MS, whenUp(createVolumeRemoval(parts))),
    loop('Removing networks of users without a container', SWEEP_MS, whenUp(networks.sweep)),
    loop('Looking after the images on the engine', IMAGE_SWEEP_MS, whenUp(images)),
    loop(
      'Settling pulls with logins',
      IMAGE_SWEEP_MS,
      whenUp(() => sweepPrivatePulls(parts)),
    ),
    loop(
      'Asking the engine for its volumes and their sizes',
      SIZES_MS,
      whenUp(() => noteVolumes(parts, signal)),
    ),
  ]);
}
