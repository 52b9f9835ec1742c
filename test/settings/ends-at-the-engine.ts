/**
 * The settings that apply at a Docker engine. engine-ends.test.ts tests both ends of their ranges,
 * all settings at once.
 */
export const AT_THE_ENGINE = [
  'MAX_JOB_SECONDS',
  'MAX_BUILD_SECONDS',
  'MAX_JOB_LOG_BYTES',
  'MAX_CONTAINER_CPUS',
  'MAX_CONTAINER_MEMORY_MB',
  'MAX_CONTAINER_PIDS',
  'MAX_CONTAINER_DISK_MB',
  'IMAGE_RETENTION_DAYS',
  'CONTAINERS_MAX',
  'RUNNING_CONTAINERS_PER_USER',
  'RUNNING_BUILDS_PER_USER',
];
