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
import type { ResourceMaximums } from '../../domain/container-schema.ts';
import { SCHEDULE_CHANNEL } from '../../domain/hints.ts';
import type { LogSource } from '../../domain/line-flags.ts';
import { createBackoff } from '../../platform/backoff.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { announce, notifiedChanges } from '../announce.ts';
import { createCapacity } from '../capacity.ts';
import { type ChunkWriter, createChunkWriter } from '../capture/chunk-writer.ts';
import { keepLeases } from '../leases.ts';
import { settledLinesBefore } from '../log-seam.ts';
import type { Parts } from '../parts.ts';
import { createPublisher } from '../publish.ts';
import { type BuildResult, buildImage } from './build.ts';
import { createLogins } from './pull.ts';
import type { Templates } from './template.ts';

export interface Builds {
  /** Claims and starts these, now where there is a place, else when there is one: no job waits on the bus behind a build that does. */
  claim(ids: string[], signal: AbortSignal): Promise<void>;
  onCancelHint(message: string): void;
  /** Stops what runs; it is QUEUED again, and the attempt does not count. */
  close(): Promise<void>;
}

/** Pulls wait for registries and disks; more at once makes each of them slower. */
const BUILDS_MAX = 4;
/** Ids that wait for a place: hints, so that what is beyond it is told of again by the sweep over builds. */
const WAITING_MAX = 1_000;
const CLOSE_MS = 10_000;

interface Limits {
  installation: string;
  maxResources?: ResourceMaximums | undefined;
  maxBuildSeconds?: number | undefined;
  maxLogBytes?: number | undefined;
}

/** The builds that this process runs. */
export function createBuilds(parts: Parts & Limits & { docker: Docker; templates: Templates }): Builds {
  const { db, bus, cache, docker, log, owner, templates, sealer } = parts;
  const capacity = createCapacity(BUILDS_MAX);
  const leases = keepLeases({ db, log, renewHeld: renewBuildLeases });
  const running = new Map<string, { stop: AbortController; settled: Promise<void> }>();
  const logins = createLogins(db);
  const waiting = new Set<string>();
  const halt = new AbortController();

  function launch(build: ClaimedBuild): void {
    const stop = new AbortController();
    leases.hold(build, () => stop.abort()); // lost, or canceled: its row says so already
    const settled = run(build, stop.signal)
      .catch((error) => {
        if (!stop.signal.aborted)
          log.error({ err: error, buildId: build.id }, 'A build failed unforeseen; it is tried again.');
      })
      .then(() => giveUp(build))
      .finally(() => {
        running.delete(build.id);
        capacity.release(1);
        claimWaiting(halt.signal).catch((error) =>
          log.debug({ err: error }, 'Builds that wait could not be claimed; they are told of again.'),
        );
      });
    running.set(build.id, { stop, settled });
  }

  async function claimWaiting(signal: AbortSignal): Promise<void> {
    while (waiting.size > 0 && capacity.free > 0 && !halt.signal.aborted) {
      const taken = await capacity.take(waiting.size, signal);
      const ids = [...waiting].slice(0, taken);
      for (const id of ids) waiting.delete(id);
      let claimed: ClaimedBuild[] = [];
      try {
        claimed = await claimBuilds(db, ids, { owner });
      } catch (error) {
        for (const id of ids) waiting.add(id);
        throw error;
      } finally {
        capacity.release(taken - claimed.length);
      }
      for (const build of claimed) launch(build);
      if (claimed.length > 0) await tell(claimed);
    }
  }

  async function run(build: ClaimedBuild, signal: AbortSignal): Promise<void> {
    const publish = createPublisher({ bus, log, isFresh: () => leases.isFresh(build.id), signal });
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
      logins,
      installation: parts.installation,
      maxResources: parts.maxResources,
      maxSeconds: parts.maxBuildSeconds,
      build,
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
        leases.drop(build.id);
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
    leases.drop(build.id);
    if (!halt.signal.aborted) return; // lost, canceled or unforeseen: its lease expires, if it has one, and the sweep decides
    await releaseBuilds(db, [build]).catch((error) =>
      log.warn({ err: error }, 'A build could not be handed on; its lease expires by itself.'),
    );
  }

  return {
    async claim(ids, signal) {
      for (const id of ids) if (waiting.size < WAITING_MAX) waiting.add(id);
      await claimWaiting(signal);
    },

    onCancelHint: leases.onCancelHint,

    async close() {
      halt.abort();
      const left = [...running.values()];
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
