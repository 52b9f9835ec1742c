import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { TlsMaterial } from '../pem.ts';
import { type Confinement, confine, DEFAULT_RESOURCES, type Resources } from './confinement.ts';
import { type ContainerState, containerState } from './container-state.ts';
import { broken, createEngine } from './engine.ts';
import { engineTime } from './engine-time.ts';
import { EngineError, isContainerMissing, isEngineError } from './errors.ts';
import { type BuildImage, createImageBuilder } from './image-build.ts';
import { createImages, type Images } from './images.ts';
import { createNetworks, type Networks } from './networks.ts';
import {
  type Cgroups,
  hasProcessGroups,
  openProcessGroup,
  type ProcessGroup,
  type ProcessGroupSpec,
} from './process-group.ts';
import { askRegistry, createPuller, type PullOptions } from './pull.ts';
import { createVolumes, type Volumes } from './volumes.ts';

export interface ContainerSpec extends Confinement {
  /** Unique on the engine: creating it twice is a CONFLICT. */
  name: string;
  image: string;
  /** Replaces the image's entrypoint, and with it the image's own command. */
  entrypoint?: string[];
  args?: string[];
  env?: Record<string, string>;
  workingDir?: string;
  labels: Record<string, string>;
  resources?: Resources;
  /** What it may write into its own layer, where the engine's storage driver can bound that. */
  diskBytes?: number | undefined;
}

export interface ListedContainer {
  id: string;
  /** Of a container that the builder makes it is the engine's choice: nothing that an author writes decides it. */
  name: string;
  labels: Record<string, string>;
}

/** What an engine pulls images for, in the words of images: `linux`, `amd64`. */
export interface Platform {
  os: string;
  architecture: string;
}

/** One Docker engine. Everything rejects with an EngineError that says what can be done about it, or when its signal aborts. */
export interface Docker extends Images, Networks, Volumes {
  readonly address: string;
  /** The engine's own id: it stays the same over its restarts. Asked once, and again after an outage, or where it is wanted `anew`. */
  engineId(options?: { anew: boolean }): Promise<string>;
  isUp(): Promise<boolean>;
  /** By how many milliseconds the engine's clock is ahead of this process's, give or take half the time that asking it takes. */
  clockOffsetMs(): Promise<number>;
  platform(): Promise<Platform>;
  /** The user agent with which the engine asks registries. */
  registryAgent(): Promise<string>;
  /**
   * Whether the engine has run without a break since `time`, in seconds by its own clock, at which it ran. It keeps its last 256 events for as long as it
   * runs: where none is as old, it was started anew (or so many have come since).
   */
  hasRunSince(time: string, options: { signal: AbortSignal }): Promise<boolean>;
  /** False where no engine is named and no usual socket is there. */
  isThere(): Promise<boolean>;

  /** The id of the image that `reference` names on the engine, undefined when it is not there. */
  findImage(reference: string): Promise<string | undefined>;
  /**
   * Resolves when the image is there. Two pulls of one image with the same login (or none) at a time are one; it is stopped when all who
   * wait for it have aborted.
   */
  pullImage(reference: string, options: PullOptions): Promise<void>;
  /** Resolves when the image's registry gives it to this login, or without one: the engine asks it, whatever it has. */
  askRegistry(reference: string, options: Pick<PullOptions, 'auth' | 'signal'>): Promise<void>;

  /** The id of the image that it has made and tagged. When `signal` aborts the engine stops the build. What it made on the way is removed. */
  buildImage: BuildImage;

  /** Bounds the processes of a build; undefined where the engine cannot. */
  openProcessGroup(spec: ProcessGroupSpec): Promise<ProcessGroup | undefined>;
  /** Whether `openProcessGroup` can. */
  hasProcessGroups(): Promise<boolean>;

  /** The id of a new container, confined, not started. */
  createContainer(spec: ContainerSpec): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** SIGTERM, and SIGKILL after the grace; resolves when it has ended. False: it had ended before. */
  stopContainer(id: string, graceSeconds: number): Promise<boolean>;
  /** Resolves when it does not run, or after `timeoutMs`. */
  waitContainer(id: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<void>;
  /** By id or name; undefined when there is none. */
  inspectContainer(idOrName: string): Promise<ContainerState | undefined>;
  /** With its anonymous volumes. One that is not there is fine. Without `force`, one that runs is a CONFLICT. */
  removeContainer(id: string, options: { force: boolean }): Promise<void>;
  /** In any state, with all these labels. */
  listContainers(labels: Record<string, string>): Promise<ListedContainer[]>;
  /**
   * The multiplexed log with timestamps, read as slowly as its reader likes. A log that is followed ends when the container does, and
   * then may lack its last lines: read it again to the end. `since` is in seconds, with decimals, inclusive.
   */
  openLog(
    id: string,
    options: { follow: boolean; since?: string; tail?: number; signal: AbortSignal },
  ): Promise<IncomingMessage>;
}

const PING_TIMEOUT_MS = 3_000;
const LOG_HEAD_TIMEOUT_MS = 15_000;
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
  let boundsDisks = true; // until the engine says no
  let known: z.infer<typeof info> | undefined;

  async function ask(): Promise<z.infer<typeof info>> {
    known ??= info.parse(await engine.call({ method: 'GET', path: '/info' }));
    return known;
  }

  /** The engine refuses a container that may use more CPUs than it has. */
  async function within(resources: Resources): Promise<Resources> {
    return resources.cpus <= 1 ? resources : { ...resources, cpus: Math.min(resources.cpus, (await ask()).NCPU) };
  }

  const container = (id: string) => `/containers/${encodeURIComponent(id)}`;

  return {
    address: engine.address,
    isThere: engine.isThere,

    async engineId({ anew } = { anew: false }) {
      if (anew) known = undefined;
      return (await ask()).ID;
    },

    async isUp() {
      try {
        await engine.call({ method: 'GET', path: '/_ping', timeoutMs: PING_TIMEOUT_MS });
        return true;
      } catch (error) {
        log.debug({ err: error }, 'The Docker engine does not answer.');
        boundsDisks = true;
        known = undefined; // another engine may come up at this address
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
    openProcessGroup: async (spec) => openProcessGroup(engine, toCgroups(await ask()), spec),
    hasProcessGroups: async () => hasProcessGroups(toCgroups(await ask())),
    buildImage: createImageBuilder(engine, images),

    async createContainer(spec) {
      const body = {
        Image: spec.image,
        Entrypoint: spec.entrypoint,
        Cmd: spec.args,
        Env: Object.entries(spec.env ?? {}).map(([name, value]) => `${name}=${value}`),
        WorkingDir: spec.workingDir,
        Labels: spec.labels,
        Tty: false,
        OpenStdin: false,
        StopSignal: 'SIGTERM',
        Healthcheck: { Test: ['NONE'] }, // the engine would run the image's, up to 1,000 times a second, at its own cost
        HostConfig: confine(await within(spec.resources ?? DEFAULT_RESOURCES), spec),
      };
      const create = async (storage: object) => {
        const bounded = { ...body, HostConfig: { ...body.HostConfig, ...storage } };
        const query = { name: spec.name };
        return created.parse(await engine.call({ method: 'POST', path: '/containers/create', query, body: bounded }))
          .Id;
      };
      if (spec.diskBytes === undefined || !boundsDisks) return create({});
      try {
        return await create({ StorageOpt: { size: String(spec.diskBytes) } });
      } catch (error) {
        if (!isEngineError(error) || !CANNOT_BOUND_DISKS.test(error.message)) throw error;
        const id = await create({}); // an engine that refuses this too, refuses something else
        boundsDisks = false;
        log.warn(
          { engine: engine.address },
          'This Docker engine cannot bound what a container writes to its disk: MAX_CONTAINER_DISK_MB has no effect on it.',
        );
        return id;
      }
    },

    async startContainer(id) {
      await engine.call({ method: 'POST', path: `${container(id)}/start` });
    },

    async stopContainer(id, graceSeconds) {
      const before = await this.inspectContainer(id);
      if (before?.status !== 'running') return false;
      const timeoutMs = (graceSeconds + PATIENCE_SECONDS) * 1000;
      await ofContainer(
        engine.call({ method: 'POST', path: `${container(id)}/stop`, query: { t: graceSeconds }, timeoutMs }),
      );
      return true;
    },

    async waitContainer(id, { timeoutMs, signal }) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      try {
        await ofContainer(engine.call({ method: 'POST', path: `${container(id)}/wait`, signal: limit }));
      } catch (error) {
        if (signal.aborted || !limit.aborted) throw error;
      }
    },

    async inspectContainer(idOrName) {
      try {
        return containerState(await ofContainer(engine.call({ method: 'GET', path: `${container(idOrName)}/json` })));
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return undefined;
        throw error;
      }
    },

    async removeContainer(id, { force }) {
      try {
        await ofContainer(engine.call({ method: 'DELETE', path: container(id), query: { force, v: true } }));
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return;
        if (isEngineError(error, 'CONFLICT') && error.message.includes('already in progress')) return;
        throw error;
      }
    },

    async listContainers(labels) {
      const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
      const listed = await engine.call({ method: 'GET', path: '/containers/json', query: { all: true, filters } });
      return list.parse(listed).map(({ Id, Names, Labels }) => ({
        id: Id,
        name: Names?.[0]?.replace(/^\//, '') ?? '',
        labels: Labels ?? {},
      }));
    },

    async openLog(id, { follow, since, tail, signal }) {
      const query = {
        stdout: true,
        stderr: true,
        timestamps: true,
        follow,
        ...(since === undefined ? {} : { since }),
        ...(tail === undefined ? {} : { tail }),
      };
      const path = `${container(id)}/logs`;
      return ofContainer(engine.open({ method: 'GET', path, query, signal, headTimeoutMs: LOG_HEAD_TIMEOUT_MS }));
    },
  };
}

/**
 * The answer to a request for a container. A 404 in other words than those for a missing container is no answer of an engine's: a gateway before it gives
 * that while the engine behind it is not known to it yet. Taken for the container's end, it would let another attempt run beside it.
 */
async function ofContainer<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isEngineError(error, 'NOT_FOUND') || isContainerMissing(error)) throw error;
    throw new EngineError('BUSY', error.message, { cause: error });
  }
}

/** Without a tag the engine would take `abc` for the beginning of an image's id as well. */
function tagged(reference: string): string {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  return name.includes(':') || name.includes('@') ? reference : `${reference}:latest`;
}

/** For readers of `openLog`: what a stream throws that breaks, as an EngineError. */
export function logBroken(docker: Docker, error: unknown): EngineError {
  return error instanceof EngineError ? error : broken(docker.address, error);
}

/** Beyond the grace, for the engine to kill a container that does not end by itself. */
const PATIENCE_SECONDS = 30;

const info = z.object({
  ID: z.string().min(1),
  NCPU: z.number(),
  CgroupDriver: z.string().optional(),
  CgroupVersion: z.string().optional(),
  Architecture: z.string().optional(),
});
/** What a header can hold. */
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

function toCgroups({ CgroupDriver = '', CgroupVersion = '1', Architecture = '' }: z.infer<typeof info>): Cgroups {
  return { driver: CgroupDriver, version: CgroupVersion, architecture: Architecture };
}

/**
 * What engines say whose storage driver, or file system, knows no quota. At the beginning alone: further on there may be what a user wrote,
 * the path of an image's volume, say.
 */
const CANNOT_BOUND_DISKS =
  /^(?:--)?storage[- ]opt(?:s|ion)?\b|^filesystem does not support, or has not enabled quotas/i;

const image = z.object({ Id: z.string() });
const created = z.object({ Id: z.string() });
const labels = z.record(z.string(), z.string()).nullish();
const list = z.array(z.object({ Id: z.string(), Names: z.array(z.string()).nullish(), Labels: labels }));
