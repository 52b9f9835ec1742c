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
import { CONTAINER_NETWORKS } from '../../domain/payload/payload.ts';
import { decimal, setting, trueOrFalse, wholeNumber, withDefault } from './setting.ts';

const USER_LIMIT_MAX = 9_999_999_999; // ten digits, as many as a whole number may have here

/** What jobs and builds may take, and what one user may have. */
export const JOB_SETTINGS = {
  MAX_JOB_SECONDS: withDefault({
    schema: wholeNumber(1, 31_536_000),
    default: '86400',
    means:
      'The longest time-out that a CONTAINER workflow may ask for, and get. 3600 is what one gets that asks for nothing.',
    example: '86400',
  }),
  MAX_BUILD_SECONDS: withDefault({
    schema: wholeNumber(1, 86_400),
    default: '3600',
    means: 'How long a build may take, with the pulls of its images.',
    example: '1800',
  }),
  MAX_JOB_LOG_BYTES: withDefault({
    schema: wholeNumber(1_000, ENGINE_LOG_BYTES_MAX / 2),
    default: String(JOB_LOG_BYTES_MAX),
    means:
      'The most that is kept of what one attempt of a job, or of a build, prints: bytes before compression, with about 33 for each line. The log says where it was cut; the job goes on.',
    example: '104857600',
  }),
  MAX_CONTAINER_CPUS: withDefault({
    schema: decimal(0.1, 1_024),
    default: String(CONTAINER_RESOURCES_MAX.cpus),
    means: 'How many CPUs a container may ask for, and get. 1 is what one gets that asks for nothing.',
    example: '0.5',
  }),
  MAX_CONTAINER_MEMORY_MB: withDefault({
    schema: wholeNumber(CONTAINER_MEMORY_MB_MIN, 16_777_216),
    default: String(CONTAINER_RESOURCES_MAX.memoryMb),
    means: 'How much memory a container may ask for, and get. 512 is what one gets that asks for nothing.',
    example: '1024',
  }),
  MAX_CONTAINER_PIDS: withDefault({
    schema: wholeNumber(1, 1_000_000),
    default: String(CONTAINER_RESOURCES_MAX.pids),
    means: 'How many processes and threads a container may ask for, and have. 256 is for one that asks for nothing.',
    example: '512',
  }),
  MAX_CONTAINER_DISK_MB: setting({
    schema: wholeNumber(1, 16_777_216),
    defaultMeans: 'as much as the engine gives',
    means:
      'How much a container may write to its own file system, where the storage driver of the engine can bound it; elsewhere the log warns once.',
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
      'Networks that a CONTAINER workflow may ask for; the first is for one that asks for none. BRIDGE is a network of its owner alone, with a way out. Builds have the same.',
    example: 'NONE,BRIDGE',
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
    defaultMeans: 'a group of each build, where the engine has cgroupfs of version 1; else none',
    means:
      'The cgroup on the host of the engine below which the steps of builds run, so that its bounds hold for them.',
    example: 'chronoverse-builds.slice',
  }),
  CONTAINERS_MAX: withDefault({
    schema: wholeNumber(1, 1_000),
    default: '16',
    means:
      'How many containers one workflow worker runs at once; more wait for their turn. One user alone gets three quarters of them.',
    example: '4',
  }),
  RUNNING_CONTAINERS_PER_USER: withDefault({
    schema: wholeNumber(1, 1_000),
    default: String(RUNNING_PER_USER.containers),
    means: 'How many containers of one user one workflow worker runs at once, at most. More wait for their turn.',
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
    means: 'How many CONTAINER jobs that one user asked for (runWorkflow) may wait. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_HEARTBEATS_PER_USER: userLimit({
    name: 'QUEUED_HEARTBEATS_PER_USER',
    means: 'How many HEARTBEAT jobs that one user asked for (runWorkflow) may wait. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  QUEUED_BUILDS_PER_USER: userLimit({
    name: 'QUEUED_BUILDS_PER_USER',
    means: 'How many builds of one user may wait or run. One more is LIMIT_EXCEEDED.',
    example: '20',
  }),
  WORKFLOWS_PER_USER: userLimit({
    name: 'WORKFLOWS_PER_USER',
    means:
      'How many workflows one user may have, and ten times as many with deleted ones that are not purged. One more is LIMIT_EXCEEDED.',
    example: '100',
  }),
  VOLUMES_PER_USER: userLimit({
    name: 'VOLUMES_PER_USER',
    means:
      'How many volumes one user may have; those that an engine still has to remove count. One more is LIMIT_EXCEEDED.',
    example: '10',
  }),
  PAYLOAD_BYTES_PER_USER: userLimit({
    name: 'PAYLOAD_BYTES_PER_USER',
    means:
      'How many bytes the stored payloads of one user may have together; those of deleted workflows count until they are purged. More is LIMIT_EXCEEDED.',
    example: '1048576',
  }),
  GENERATIONS_PER_WORKFLOW: userLimit({
    name: 'GENERATIONS_PER_WORKFLOW',
    means:
      'How many generations of one payload are stored: the present one, and those that jobs which have not ended still need. One more is LIMIT_EXCEEDED.',
    example: '10',
  }),
};

function userLimit({ name, ...rest }: { name: UserLimitName; means: string; example: string }) {
  return withDefault({ schema: wholeNumber(1, USER_LIMIT_MAX), default: String(USER_LIMITS[name]), ...rest });
}
