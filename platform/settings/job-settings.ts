import { z } from 'zod';
import {
  CONTAINER_MEMORY_MB_MIN,
  CONTAINER_RESOURCES_MAX,
  ENGINE_LOG_BYTES_MAX,
  JOB_LOG_BYTES_MAX,
  RUNNING_PER_USER,
  USER_LIMITS,
  type UserLimitName,
} from '../../domain/limits.ts';
import { CAPABILITIES } from '../../domain/payload/capabilities.ts';
import { CONTAINER_NETWORKS, isSharedNetworkName } from '../../domain/payload/container-schema.ts';
import { decimal, setting, trueOrFalse, wholeNumber, withDefault } from './setting.ts';

const USER_LIMIT_MAX = 9_999_999_999; // wholeNumber reads at most ten digits

/** Limits of jobs and builds, and of what one user may have. */
export const JOB_SETTINGS = {
  MAX_JOB_SECONDS: withDefault({
    schema: wholeNumber(1, 31_536_000),
    default: '86400',
    means:
      'The longest timeout of a CONTAINER workflow. A payload without one gets 3,600 seconds, or this if it is less.',
    example: '86400',
  }),
  MAX_BUILD_SECONDS: withDefault({
    schema: wholeNumber(1, 86_400),
    default: '3600',
    means: 'How many seconds a build may take, including the pulls of its images.',
    example: '1800',
  }),
  MAX_JOB_LOG_BYTES: withDefault({
    schema: wholeNumber(1_000, ENGINE_LOG_BYTES_MAX / 2),
    default: String(JOB_LOG_BYTES_MAX),
    means:
      'How many bytes are kept of what one attempt of a job, or of a build, prints, before compression and with about 33 bytes for each line. The log says where it was cut; the job continues.',
    example: '104857600',
  }),
  MAX_CONTAINER_CPUS: withDefault({
    schema: decimal(0.1, 1_024),
    default: String(CONTAINER_RESOURCES_MAX.cpus),
    means: 'How many CPUs a container may have. A payload that names none gets 1, or this if it is less.',
    example: '0.5',
  }),
  MAX_CONTAINER_MEMORY_MB: withDefault({
    schema: wholeNumber(CONTAINER_MEMORY_MB_MIN, 16_777_216),
    default: String(CONTAINER_RESOURCES_MAX.memoryMb),
    means:
      'How many megabytes of memory a container may have. A payload that names none gets 512, or this if it is less.',
    example: '1024',
  }),
  MAX_CONTAINER_PIDS: withDefault({
    schema: wholeNumber(1, 1_000_000),
    default: String(CONTAINER_RESOURCES_MAX.pids),
    means:
      'How many processes and threads a container may have. A payload that names none gets 256, or this if it is less.',
    example: '512',
  }),
  MAX_CONTAINER_DISK_MB: setting({
    schema: wholeNumber(1, 16_777_216),
    defaultMeans: 'as much as the engine allows',
    means:
      "How many megabytes a container may write to its own file system, if the engine's storage driver can limit it. Otherwise the log warns once.",
    example: '10240',
  }),
  CONTAINER_NETWORKS: withDefault({
    schema: z.string().transform((text, context) => {
      const names = text.split(',').map((name) => CONTAINER_NETWORKS.find((known) => known === name.trim()));
      const known = names.filter((name) => name !== undefined);
      if (known.length === names.length && new Set(known).size === known.length) return known;
      context.addIssue('BRIDGE, NONE, or both with a comma between, each once');
      return z.NEVER;
    }),
    default: 'BRIDGE,NONE',
    means:
      'Networks that a CONTAINER workflow may ask for. The first one is the default. BRIDGE is a network of its owner alone, with access to the outside. Builds use the same.',
    example: 'NONE,BRIDGE',
  }),
  SHARED_NETWORKS: setting({
    schema: z.string().transform((text, context) => {
      const names = text.split(',').map((name) => name.trim());
      if (names.every(isSharedNetworkName) && new Set(names).size === names.length) return names;
      context.addIssue('names of networks that you made on the engine, with a comma between, each once');
      return z.NEVER;
    }),
    defaultMeans: 'none',
    means:
      'Networks on each engine that every CONTAINER workflow may join by name. Containers of all users who name one reach each other on it.',
    example: 'databases',
  }),
  CONTAINER_CAPABILITIES: setting({
    schema: z.string().transform((text, context) => {
      const names = text.split(',').map((name) => name.trim());
      if (names.every((name) => CAPABILITIES.includes(name)) && new Set(names).size === names.length) return names;
      context.addIssue('capabilities of Linux without CAP_, with a comma between, each once');
      return z.NEVER;
    }),
    defaultMeans: 'none',
    means:
      'Capabilities that a CONTAINER workflow may ask for. A container has none unless it asks. NET_ADMIN, SYS_ADMIN and others like them open the host.',
    example: 'CHOWN,NET_BIND_SERVICE',
  }),
  BUILDS_ALLOWED: withDefault({
    schema: trueOrFalse(),
    default: 'true',
    means: 'Whether CONTAINER workflows may build Dockerfiles. Builds are less confined than jobs.',
    example: 'false',
  }),
  BUILD_CGROUP_PARENT: setting({
    schema: z
      .string()
      .regex(
        /^(\/[A-Za-z0-9_.-]+)+$|^[A-Za-z0-9_.-]+\.slice$/,
        'a path like /chronoverse-builds, or a slice of systemd',
      ),
    defaultMeans: 'a group for each build if the engine has cgroupfs of version 1, else none',
    means: "The cgroup on the engine's host under which build steps run, so that its limits apply to them.",
    example: 'chronoverse-builds.slice',
  }),
  CONTAINERS_MAX: withDefault({
    schema: wholeNumber(1, 1_000),
    default: '16',
    means:
      'How many containers one workflow worker runs at once. More wait for their turn. One user alone gets three quarters of them.',
    example: '4',
  }),
  RUNNING_CONTAINERS_PER_USER: withDefault({
    schema: wholeNumber(1, 1_000),
    default: String(RUNNING_PER_USER.containers),
    means: 'How many containers of one user one workflow worker runs at once. More wait for their turn.',
    example: '4',
  }),
  RUNNING_BUILDS_PER_USER: withDefault({
    schema: wholeNumber(1, 4),
    default: String(RUNNING_PER_USER.builds),
    means: 'How many builds of one user one workflow worker runs at once, of its 4. More wait for their turn.',
    example: '1',
  }),
  RUNNING_HEARTBEATS_PER_USER: withDefault({
    schema: wholeNumber(1, 4_000),
    default: String(RUNNING_PER_USER.heartbeats),
    means: 'How many checks of one user one execution worker runs at once, of its 4,000. More wait for their turn.',
    example: '500',
  }),
  QUEUED_CONTAINERS_PER_USER: userLimit({
    name: 'QUEUED_CONTAINERS_PER_USER',
    means: 'How many requested CONTAINER jobs (runWorkflow) of one user may wait. More are LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_HEARTBEATS_PER_USER: userLimit({
    name: 'QUEUED_HEARTBEATS_PER_USER',
    means: 'How many requested HEARTBEAT jobs (runWorkflow) of one user may wait. More are LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_BUILDS_PER_USER: userLimit({
    name: 'QUEUED_BUILDS_PER_USER',
    means: 'How many builds of one user may wait or run. More are LIMIT_EXCEEDED.',
    example: '20',
  }),
  WORKFLOWS_PER_USER: userLimit({
    name: 'WORKFLOWS_PER_USER',
    means:
      'How many workflows one user may have. Including deleted ones that are not purged, ten times as many are allowed. More are LIMIT_EXCEEDED.',
    example: '100',
  }),
  VOLUMES_PER_USER: userLimit({
    name: 'VOLUMES_PER_USER',
    means:
      'How many volumes one user may have, including those that an engine has yet to remove. More are LIMIT_EXCEEDED.',
    example: '10',
  }),
  PAYLOAD_BYTES_PER_USER: userLimit({
    name: 'PAYLOAD_BYTES_PER_USER',
    means:
      'How many bytes the stored payloads of one user may have together. Those of deleted workflows count until they are purged. More are LIMIT_EXCEEDED.',
    example: '1048576',
  }),
  GENERATIONS_PER_WORKFLOW: userLimit({
    name: 'GENERATIONS_PER_WORKFLOW',
    means:
      'How many generations of one payload are stored: the present one, and those that jobs which have not ended still need. More are LIMIT_EXCEEDED.',
    example: '10',
  }),
};

function userLimit({ name, ...rest }: { name: UserLimitName; means: string; example: string }) {
  return withDefault({ schema: wholeNumber(1, USER_LIMIT_MAX), default: String(USER_LIMITS[name]), ...rest });
}
