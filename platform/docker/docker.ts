import type { Logger } from 'pino';
import { z } from 'zod';
import type { TlsMaterial } from '../pem.ts';
import { type ContainerFiles, createContainerFiles } from './container-files.ts';
import { type Containers, createContainers } from './containers.ts';
import { createEmulation, type Emulation } from './emulation.ts';
import { broken, createEngine } from './engine.ts';
import { cgroupsOf, createEngineInfo, engineTime, storeOf } from './engine-info.ts';
import { EngineError, isEngineError } from './errors.ts';
import { type BuildImage, createImageBuilder } from './image-build.ts';
import { createImages, type Images, type Platform } from './images.ts';
import { createNetworks, type Networks } from './networks.ts';
import { hasProcessGroups, openProcessGroup, type ProcessGroup, type ProcessGroupSpec } from './process-group.ts';
import { askRegistry, createPuller, type PullOptions } from './pull.ts';
import { createVolumes, type Volumes } from './volumes.ts';

export type { Platform } from './images.ts';

/**
 * One Docker engine. Everything rejects with an EngineError that says what can be done about it, or
 * with the reason of an aborted signal.
 */
export interface Docker extends Images, Networks, Volumes, Containers, ContainerFiles {
  readonly address: string;
  /**
   * The engine's own id, which stays the same over its restarts. The engine is asked once, and
   * again after an outage or with `anew`.
   */
  engineId(options?: { anew: boolean }): Promise<string>;
  /** Names the engine's images and volumes. No other engine of the same machine has this name. */
  storeId(): Promise<string>;
  isUp(): Promise<boolean>;
  /**
   * How many milliseconds the engine's clock is ahead of this process's clock. It is accurate to
   * half the time that the request takes.
   */
  clockOffsetMs(): Promise<number>;
  platform(): Promise<Platform>;
  /**
   * The folder of the engine's host in which its data lies. Undefined if the engine is on another
   * machine, or does not say.
   */
  localDataFolder(): Promise<string | undefined>;
  /**
   * Whether the engine's host runs programs for this architecture, as images name it. Undefined if
   * that cannot be found out.
   */
  runsPrograms: Emulation['runsPrograms'];
  /** The user agent that the engine sends to registries. */
  registryAgent(): Promise<string>;
  /**
   * Whether the engine has run without a break since `time`, in seconds by its own clock. The
   * caller knows that it ran at that time. The engine keeps its last 256 events while it runs. If
   * none is that old, the engine has restarted, or that many events have followed.
   */
  hasRunSince(time: string, options: { signal: AbortSignal }): Promise<boolean>;
  /** False if no engine is named and no usual socket exists. */
  isThere(): Promise<boolean>;

  /** The id of the image that `reference` names on the engine. Undefined if it is not there. */
  findImage(reference: string): Promise<string | undefined>;
  /**
   * Resolves when the image is there. Pulls of one image with the same login (or none) at the same
   * time become one. It stops when all its callers have aborted.
   */
  pullImage(reference: string, options: PullOptions): Promise<void>;
  /**
   * Resolves if the image's registry gives it to this login, or without a login. The engine asks
   * the registry even if it has the image.
   */
  askRegistry(reference: string, options: Pick<PullOptions, 'auth' | 'signal'>): Promise<void>;

  /**
   * Returns the id of the image that it has made and tagged. When `signal` aborts, the engine stops
   * the build. Intermediate images that no image needs are removed.
   */
  buildImage: BuildImage;

  /** Bounds the processes of a build. Undefined if the engine cannot. */
  openProcessGroup(spec: ProcessGroupSpec): Promise<ProcessGroup | undefined>;
  /** Whether `openProcessGroup` works on this engine. */
  hasProcessGroups(): Promise<boolean>;
}

const PING_TIMEOUT_MS = 3_000;
const EVENTS_TIMEOUT_MS = 15_000;

export function createDocker({
  host,
  tls,
  log,
}: {
  host?: string | undefined;
  tls?: TlsMaterial | undefined;
  log: Logger;
}): Docker {
  const engine = createEngine({ host, tls });
  const pullImage = createPuller(engine);
  const images = createImages(engine);
  const about = createEngineInfo(engine);
  const emulation = createEmulation(engine, about);

  return {
    address: engine.address,
    isThere: engine.isThere,

    async engineId({ anew } = { anew: false }) {
      if (anew) about.forget();
      return (await about.ask()).ID;
    },

    storeId: async () => storeOf(await about.ask()),

    async isUp() {
      try {
        await engine.call({ method: 'GET', path: '/_ping', timeoutMs: PING_TIMEOUT_MS });
        return true;
      } catch (error) {
        log.debug({ err: error }, 'The Docker engine does not answer.');
        about.forget(); // another engine may start at this address
        return false;
      }
    },

    async clockOffsetMs() {
      const before = Date.now();
      const at = await engineTime(engine);
      return at.getTime() - (before + Date.now()) / 2;
    },

    async platform() {
      const { Os, Arch } = version.parse(await engine.call({ method: 'GET', path: '/version' }));
      return { os: Os, architecture: Arch };
    },

    async localDataFolder() {
      return engine.address.startsWith('unix://') ? (await about.ask()).DockerRootDir : undefined;
    },

    runsPrograms: emulation.runsPrograms,

    async registryAgent() {
      const engines = version.parse(await engine.call({ method: 'GET', path: '/version' }));
      const { Version, GoVersion, GitCommit, KernelVersion, Os, Arch } = engines;
      return `docker/${Version} go/${GoVersion} git-commit/${GitCommit} kernel/${KernelVersion} os/${Os} arch/${Arch}`;
    },

    async hasRunSince(time, { signal }) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(EVENTS_TIMEOUT_MS)]);
      const query = { since: '0', until: time };
      const events = await engine.open({ method: 'GET', path: '/events', query, signal: limit });
      try {
        for await (const _ of events) return true;
        return false;
      } catch (error) {
        throw broken(engine.address, error);
      } finally {
        events.destroy();
      }
    },

    async findImage(reference) {
      try {
        const path = `/images/${tagged(reference).split('/').map(encodeURIComponent).join('/')}/json`;
        return image.parse(await engine.call({ method: 'GET', path })).Id;
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return undefined;
        throw error;
      }
    },

    pullImage,
    askRegistry: (reference, options) => askRegistry(engine, reference, options),
    ...images,
    ...createNetworks(engine),
    ...createVolumes(engine),
    openProcessGroup: async (spec) => openProcessGroup(engine, cgroupsOf(await about.ask()), spec),
    hasProcessGroups: async () => hasProcessGroups(cgroupsOf(await about.ask())),
    ...createContainers(engine, about, log),
    ...createContainerFiles(engine),
    buildImage: createImageBuilder(engine, images),
  };
}

/** Without a tag, the engine would also take `abc` for the beginning of an image's id. */
function tagged(reference: string): string {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  return name.includes(':') || name.includes('@') ? reference : `${reference}:latest`;
}

/** For readers of `openLog`: turns the error of a broken stream into an EngineError. */
export function logBroken(docker: Docker, error: unknown): EngineError {
  return error instanceof EngineError ? error : broken(docker.address, error);
}

/** A word that a header can hold. */
const word = z
  .string()
  .regex(/^[\x21-\x7e]+$/)
  .catch('unknown');
const version = z.object({
  Os: z.string(),
  Arch: z.string(),
  Version: word,
  GoVersion: word,
  GitCommit: word,
  KernelVersion: word,
});

const image = z.object({ Id: z.string() });
