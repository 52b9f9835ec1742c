import { CONTAINER_RESOURCES, JOB_LOG_BYTES_MAX } from '../../domain/limits.ts';

/** What a container may use. Times and memory are bounds, not reservations. */
export interface Resources {
  cpus: number;
  memoryBytes: number;
  pids: number;
}

export const MB = 1024 * 1024;
export const DEFAULT_RESOURCES: Resources = {
  cpus: CONTAINER_RESOURCES.cpus,
  memoryBytes: CONTAINER_RESOURCES.memoryMb * MB,
  pids: CONTAINER_RESOURCES.pids,
};

/**
 * A volume by its name on the engine, which makes it, with these labels, where there is none yet.
 */
export interface Mount {
  volume: string;
  path: string;
  readOnly: boolean;
  labels: Record<string, string>;
}

export interface Confinement {
  /** `bridge`, `none`, or the name of a network. */
  network?: string | undefined;
  mounts?: Mount[] | undefined;
  /** What is kept of its log: the engine keeps more, so that nothing of it is lost. */
  logBytes?: number | undefined;
}

/**
 * An engine that may not raise its own limit (it runs in a container itself, say) starts nothing
 * that asks for more than it has.
 */
const OPEN_FILES_MAX = 8_192;
export const ULIMITS = [
  { Name: 'nofile', Soft: OPEN_FILES_MAX, Hard: OPEN_FILES_MAX },
  { Name: 'core', Soft: 0, Hard: 0 },
];
/** What /dev/shm holds: it counts as memory, and an engine's own default may be another size. */
export const SHARED_MEMORY_BYTES = 64 * MB;
/*
 * The engine's log is what a worker reads after an outage or adopts, from its first line on, so
 * nothing that is kept may be rotated away while the container exists. It is one file, more than
 * twice as large as what is kept of a job's log (MAX_JOB_LOG_BYTES; the engine adds about 30 bytes
 * to a line, as a chunk does): a job within its maximum never has its log rotated, however long the
 * bus is away. One that prints more loses lines that would be kept only where it prints twice the
 * maximum while the log collector waits within the first part of them. The log goes with its
 * container, and no container costs the host's disk more than that.
 */
const LOG_FACTOR = 2;
const LOG_MORE_BYTES = 64 * MB;

/** The init process and the program: with one alone nothing starts. */
const PROCESSES_MIN = 2;

/**
 * The engine's HostConfig of every container: no capabilities, no new privileges, no swap, bounded
 * processes, memory, CPU and open files, nothing of the host mounted, and an init process that
 * passes signals on and reaps (a program as process 1 ignores SIGTERM).
 *
 * The log driver is `local` and not `json-file`: it keeps the bytes as they were printed, where
 * json-file turns what is not UTF-8 into U+FFFD, also a character that the engine cut at its 16 KiB
 * pieces; and following it is faster (engine 20.10, two cores, lines of 58 bytes: 130,000 a second
 * against 105,000).
 */
export function confine(
  { cpus, memoryBytes, pids }: Resources,
  { network = 'bridge', mounts = [], logBytes = JOB_LOG_BYTES_MAX }: Confinement = {},
) {
  return {
    NetworkMode: network,
    Mounts: mounts.map(({ volume, path, readOnly, labels }) => ({
      Type: 'volume', // a host's folder is another type: no name can mean one
      Source: volume,
      Target: path,
      ReadOnly: readOnly,
      VolumeOptions: { Labels: labels },
    })),
    AutoRemove: false, // it races with the reading of the exit code and of the log's end
    Init: true,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges'],
    Privileged: false,
    PidsLimit: Math.max(pids, PROCESSES_MIN),
    Memory: memoryBytes,
    MemorySwap: memoryBytes,
    NanoCpus: Math.round(cpus * 1e9),
    Ulimits: ULIMITS,
    ShmSize: SHARED_MEMORY_BYTES,
    RestartPolicy: { Name: 'no' },
    LogConfig: {
      Type: 'local',
      // All of them, `mode` too: the engine fills in what is left out from its own configuration.
      Config: {
        'max-size': String(LOG_FACTOR * logBytes + LOG_MORE_BYTES),
        'max-file': '1',
        compress: 'false',
        mode: 'blocking',
      },
    },
  };
}
