import { CONTAINER_RESOURCES, JOB_LOG_BYTES_MAX } from '../../domain/limits.ts';

/** What a container may use. All values are bounds, not reservations. */
export interface Resources {
  cpus: number;
  memoryBytes: number;
  pids: number;
  /** The size of /dev/shm, which counts as memory. */
  sharedMemoryBytes?: number | undefined;
}

export const MB = 1024 * 1024;
export const DEFAULT_RESOURCES: Resources = {
  cpus: CONTAINER_RESOURCES.cpus,
  memoryBytes: CONTAINER_RESOURCES.memoryMb * MB,
  pids: CONTAINER_RESOURCES.pids,
};

/**
 * A volume, by its name on the engine. The engine makes it with these labels if it does not exist.
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
  /** Without "CAP_" in front. */
  capabilities?: readonly string[] | undefined;
  /** How much of its log is kept. The engine's own log is larger, so that none of this is lost. */
  logBytes?: number | undefined;
  /** `local`, unless the engine refuses it. */
  logDriver?: LogDriver | undefined;
}

/**
 * An engine that may not raise its own limit, for example because it runs in a container, starts no
 * container that asks for more than it has.
 */
const OPEN_FILES_MAX = 8_192;
export const ULIMITS = [
  { Name: 'nofile', Soft: OPEN_FILES_MAX, Hard: OPEN_FILES_MAX },
  { Name: 'core', Soft: 0, Hard: 0 },
];
/** The usual size of /dev/shm. An engine's own default may be another one. */
export const SHARED_MEMORY_BYTES = 64 * MB;
/**
 * A worker reads the engine's log from its first line after an outage, or when it adopts a
 * container. So the engine must not rotate away any line that is kept while the container exists.
 * The log is one file, more than twice as large as what is kept of a job's log (MAX_JOB_LOG_BYTES;
 * the engine adds about 30 bytes to a line, as a chunk does). So the log of a job within its
 * maximum is never rotated, however long the bus is away. A job that prints more can lose lines
 * that would be kept. This only happens if it prints twice the maximum while the log collector
 * still waits within the first part. The log is removed with its container, and this size is the
 * most that it takes on the host's disk.
 */
const LOG_FACTORS: Record<LogDriver, number> = {
  local: 2,
  'json-file': 8, // JSON writes a control character in six bytes
};
const LOG_MORE_BYTES = 64 * MB;

/** The drivers of an engine that give a log back as it was printed. */
export type LogDriver = 'local' | 'json-file';

/**
 * Where the engine keeps a container's log. All options are set, even `mode`: the engine takes
 * missing ones from its own configuration, and with the mode `non-blocking` it drops lines.
 *
 * The driver is `local`, because it keeps the printed bytes. json-file turns bytes that are not
 * UTF-8 into U+FFFD, and also a character that the engine cut between its 16 KiB pieces. And
 * following `local` is faster: 130,000 lines a second against 105,000 (engine 20.10, two cores,
 * lines of 58 bytes).
 *
 * Some engines refuse `local`: one whose own configuration has `local` with `max-buffer-size`,
 * which it adds to ours and then refuses without the mode `non-blocking`, and one that does not
 * know the driver. They take `json-file`.
 */
function logConfig(driver: LogDriver, logBytes: number) {
  return {
    Type: driver,
    Config: {
      'max-size': String(LOG_FACTORS[driver] * logBytes + LOG_MORE_BYTES),
      'max-file': '1',
      compress: 'false',
      mode: 'blocking',
    },
  };
}

/** Whether an engine refuses a container because of `logConfig`, in which a payload has no part. */
export function refusesLog(words: string): boolean {
  return /^(?:logger: |unknown log opt )/i.test(words);
}

/** The init process and the program. With one process, nothing starts. */
const PROCESSES_MIN = 2;

/**
 * The engine's HostConfig of every container. It has no capabilities but those that the operator
 * allows, no new privileges, no swap, and no mount from the host. Its processes, memory, CPU and
 * open files are bounded. An init process passes signals on and reaps children, because a program
 * that runs as process 1 ignores SIGTERM.
 */
export function confine(
  { cpus, memoryBytes, pids, sharedMemoryBytes = SHARED_MEMORY_BYTES }: Resources,
  {
    network = 'bridge',
    mounts = [],
    capabilities = [],
    logBytes = JOB_LOG_BYTES_MAX,
    logDriver = 'local',
  }: Confinement = {},
) {
  return {
    NetworkMode: network,
    Mounts: mounts.map(({ volume, path, readOnly, labels }) => ({
      Type: 'volume', // a host's folder is another type, so no name can mean one
      Source: volume,
      Target: path,
      ReadOnly: readOnly,
      VolumeOptions: { Labels: labels },
    })),
    AutoRemove: false, // it races with reading the exit code and the log's end
    Init: true,
    CapDrop: ['ALL'],
    CapAdd: capabilities,
    SecurityOpt: ['no-new-privileges'],
    Privileged: false,
    PidsLimit: Math.max(pids, PROCESSES_MIN),
    Memory: memoryBytes,
    MemorySwap: memoryBytes,
    NanoCpus: Math.round(cpus * 1e9),
    Ulimits: ULIMITS,
    ShmSize: sharedMemoryBytes,
    RestartPolicy: { Name: 'no' },
    LogConfig: logConfig(logDriver, logBytes),
  };
}
