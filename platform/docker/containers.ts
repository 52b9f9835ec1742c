import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import { z } from 'zod';
import {
  type Confinement,
  confine,
  DEFAULT_RESOURCES,
  type LogDriver,
  type Resources,
  refusesLog,
} from './confinement.ts';
import { type ContainerState, containerState } from './container-state.ts';
import type { Engine } from './engine.ts';
import type { EngineInfo } from './engine-info.ts';
import { EngineError, isContainerMissing, isEngineError } from './errors.ts';

export interface ContainerSpec extends Confinement {
  /** Unique on the engine: creating it twice is a CONFLICT. */
  name: string;
  image: string;
  /** Replaces the image's entrypoint, and with it the image's own command. */
  entrypoint?: string[];
  args?: string[];
  env?: Record<string, string>;
  workingDir?: string;
  /** Replaces the user of the image. */
  user?: string | undefined;
  /** Replaces the signal that the image names for a stop. */
  stopSignal?: string | undefined;
  labels: Record<string, string>;
  resources?: Resources;
  /** How much it may write into its own layer, if the engine's storage driver can bound that. */
  diskBytes?: number | undefined;
}

export interface ListedContainer {
  id: string;
  /**
   * The engine chooses the name of a container that the builder makes. An author cannot decide it.
   */
  name: string;
  labels: Record<string, string>;
}

/** Containers of one engine. */
export interface Containers {
  /** Returns the id of a new container, which is confined and not started. */
  createContainer(spec: ContainerSpec): Promise<string>;
  startContainer(id: string): Promise<void>;
  /**
   * Sends the container's stop signal, and SIGKILL after the grace. Resolves when the container has
   * ended. Returns false if it had ended before.
   */
  stopContainer(id: string, graceSeconds: number): Promise<boolean>;
  /** Resolves when the container does not run, or after `timeoutMs`. */
  waitContainer(id: string, options: { timeoutMs: number; signal: AbortSignal }): Promise<void>;
  /** By id or name. Undefined if there is none. */
  inspectContainer(idOrName: string): Promise<ContainerState | undefined>;
  /**
   * Removes its anonymous volumes too. A missing container counts as removed. Without `force`, a
   * running one is a CONFLICT.
   */
  removeContainer(id: string, options: { force: boolean }): Promise<void>;
  /** The containers that have all these labels, in any state. */
  listContainers(labels: Record<string, string>): Promise<ListedContainer[]>;
  /**
   * The multiplexed log with timestamps, read no faster than its reader takes it. A followed log
   * ends with its container, and may then lack its last lines: read it again to the end. `since` is
   * in seconds, with decimals, inclusive.
   */
  openLog(
    id: string,
    options: { follow: boolean; since?: string; tail?: number; signal: AbortSignal },
  ): Promise<IncomingMessage>;
  /**
   * What the container prints from now on, in the multiplexed format, without timestamps: frames
   * hold parts of lines. Opened before the start, it gives everything. It ends with the container,
   * and also when the engine ends.
   *
   * The engine keeps 1 MB for a reader that is slow. Beyond that, the container waits when it
   * prints. When the container ends, the engine waits for the reader for 2 seconds, and drops what
   * it has not read from its pipe by then, for its log too.
   */
  attachOutput(id: string, options: { signal: AbortSignal }): Promise<IncomingMessage>;
}

/** The time beyond the grace for the engine to kill a container that does not end by itself. */
const KILL_SECONDS_MAX = 30;
const LOG_HEAD_TIMEOUT_MS = 15_000;
/** Every engine has it. */
const LAST_LOG_DRIVER: LogDriver = 'json-file';
const NO_LOG_DRIVER = 'The Docker engine takes none of the log drivers that keep what a container prints.';

export function createContainers(engine: Engine, about: EngineInfo, log: Logger): Containers {
  const container = (id: string) => `/containers/${encodeURIComponent(id)}`;

  /** The engine refuses a container that may use more CPUs than the engine has. */
  async function within(resources: Resources): Promise<Resources> {
    if (resources.cpus <= 1) return resources;
    return { ...resources, cpus: Math.min(resources.cpus, (await about.ask()).NCPU) };
  }

  async function inspect(idOrName: string): Promise<ContainerState | undefined> {
    try {
      return containerState(await ofContainer(engine.call({ method: 'GET', path: `${container(idOrName)}/json` })));
    } catch (error) {
      if (isEngineError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async function post(spec: ContainerSpec, logDriver: LogDriver, bound: { diskBytes?: number }): Promise<string> {
    const resources = await within(spec.resources ?? DEFAULT_RESOURCES);
    const storage = bound.diskBytes === undefined ? {} : { StorageOpt: { size: String(bound.diskBytes) } };
    const body = {
      Image: spec.image,
      Entrypoint: spec.entrypoint,
      Cmd: spec.args,
      Env: Object.entries(spec.env ?? {}).map(([name, value]) => `${name}=${value}`),
      WorkingDir: spec.workingDir,
      User: spec.user,
      Labels: spec.labels,
      Tty: false,
      OpenStdin: false,
      StopSignal: spec.stopSignal, // the image's own if there is none
      // The engine would run the image's check, up to 1,000 times a second, at its own cost.
      Healthcheck: { Test: ['NONE'] },
      HostConfig: { ...confine(resources, { ...spec, logDriver }), ...storage },
    };
    return created.parse(
      await engine.call({ method: 'POST', path: '/containers/create', query: { name: spec.name }, body }),
    ).Id;
  }

  /** With the log driver that the engine takes. */
  async function create(spec: ContainerSpec, bound: { diskBytes?: number } = {}): Promise<string> {
    const { logDriver } = about; // another call may change it meanwhile
    try {
      return await post(spec, logDriver, bound);
    } catch (error) {
      if (!isEngineError(error) || !refusesLog(error.words)) throw error;
      if (logDriver === LAST_LOG_DRIVER) throw new EngineError('BUSY', NO_LOG_DRIVER, { cause: error });
      about.logDriver = LAST_LOG_DRIVER;
      log.warn(
        { engine: engine.address, err: error },
        'This Docker engine refuses the log driver local: it writes the logs of containers with json-file, in which bytes that are not UTF-8 are lost.',
      );
      return create(spec, bound);
    }
  }

  /** With a bound on its disk, if the engine can bound it. */
  async function createBounded(spec: ContainerSpec): Promise<string> {
    const { diskBytes } = spec;
    if (diskBytes === undefined || !about.boundsDisks) return create(spec);
    try {
      return await create(spec, { diskBytes });
    } catch (error) {
      if (!isEngineError(error) || !CANNOT_BOUND_DISKS.test(error.words)) throw error;
      const id = await create(spec); // an engine that refuses this too refuses something else
      about.boundsDisks = false;
      log.warn(
        { engine: engine.address },
        'This Docker engine cannot bound what a container writes to its disk: MAX_CONTAINER_DISK_MB has no effect on it.',
      );
      return id;
    }
  }

  return {
    createContainer: createBounded,

    async startContainer(id) {
      await engine.call({ method: 'POST', path: `${container(id)}/start` });
    },

    async stopContainer(id, graceSeconds) {
      const before = await inspect(id);
      if (before?.status !== 'running') return false;
      const timeoutMs = (graceSeconds + KILL_SECONDS_MAX) * 1000;
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

    inspectContainer: inspect,

    async removeContainer(id, { force }) {
      try {
        await ofContainer(engine.call({ method: 'DELETE', path: container(id), query: { force, v: true } }));
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return;
        if (isEngineError(error, 'CONFLICT') && error.words.includes('already in progress')) return;
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

    async attachOutput(id, { signal }) {
      const query = { stream: true, stdout: true, stderr: true };
      const path = `${container(id)}/attach`;
      return ofContainer(engine.open({ method: 'POST', path, query, signal, headTimeoutMs: LOG_HEAD_TIMEOUT_MS }));
    },
  };
}

/**
 * Checks the answer to a request for a container. A 404 without the words for a missing container
 * comes from a gateway that does not know its engine yet. If it counted as the container's end,
 * another attempt would run beside the container.
 */
async function ofContainer<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isEngineError(error, 'NOT_FOUND') || isContainerMissing(error)) throw error;
    throw new EngineError('BUSY', error.message, { cause: error, words: error.words });
  }
}

/**
 * The words of engines whose storage driver or file system has no quotas. They are matched only at
 * the beginning, because a user's text may follow, for example the path of an image's volume.
 */
const CANNOT_BOUND_DISKS =
  /^(?:--)?storage[- ]opt(?:s|ion)?\b|^filesystem does not support, or has not enabled quotas/i;

const created = z.object({ Id: z.string() });
const labels = z.record(z.string(), z.string()).nullish();
const list = z.array(z.object({ Id: z.string(), Names: z.array(z.string()).nullish(), Labels: labels }));
