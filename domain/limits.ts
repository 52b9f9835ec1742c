/**
 * Bounds of the whole system, each with its unit last. Operator maximums are settings
 * (platform/settings/parse.ts).
 */

export const NAME_LENGTH_MAX = 255;
export const INTERVAL_MINUTES_MAX = 525_600;
export const FAILURES_ALLOWED_MAX = 1_000;
export const PAYLOAD_BYTES_MAX = 64 * 1024;
export const PAIRS_MAX = 100; // env entries, headers
export const PAIRS_BYTES_MAX = 32 * 1024;

export const HEARTBEAT_TIMEOUT_SECONDS = 10;
export const HEARTBEAT_TIMEOUT_SECONDS_MAX = 300;
export const CONTAINER_TIMEOUT_SECONDS = 3_600;
export const STOP_GRACE_SECONDS = 10;

/** What a container may use where its payload says nothing. */
export const CONTAINER_RESOURCES = { cpus: 1, memoryMb: 512, pids: 256 };
/** What a payload may ask for at most, unless the operator says otherwise. */
export const CONTAINER_RESOURCES_MAX = { cpus: 4, memoryMb: 4096, pids: 4096 };
export const CONTAINER_CPUS_MIN = 0.01; // the engine's own minimum
export const CONTAINER_MEMORY_MB_MIN = 6; // the engine's own minimum
export const VOLUMES_MAX = 20;
/** Volumes without a name that an image, or a Dockerfile, has of its own. */
export const IMAGE_VOLUMES_MAX = 100;
/** Of the labels of an image that is named, as JSON. Most have less than 5 KB. */
export const IMAGE_LABEL_BYTES_MAX = 64 * 1024;
/** How many of the workflows that name one volume are listed with it. */
export const VOLUME_WORKFLOWS_MAX = 20;
export const BUILD_FILES_MAX = 100;
/** What a file's name may have in a tar archive without extensions. */
export const BUILD_FILE_PATH_BYTES_MAX = 100;

export const ATTEMPTS_MAX = 3;
export const LEASE_SECONDS = 30;
export const LEASE_RENEW_SECONDS = 10;

/** How long an active job is left alone before the scheduling worker looks whether it is stuck. */
export const RECHECK_SECONDS = 30;
/** The longest between two looks at a job that waits for a worker (domain/reconcile.ts). */
export const RECHECK_SECONDS_MAX = { HEARTBEAT: 900, CONTAINER: 120 };
/**
 * An engine that stays away longer than this beyond the lease's end costs a CONTAINER job an
 * attempt.
 */
export const ADOPTION_SECONDS = 60;

/**
 * Ids in one event on `workflows`: a hint needs no more than ids, and packing them is most of the
 * throughput.
 */
export const IDS_PER_EVENT_MAX = 64;
/** A log chunk before compression. */
export const CHUNK_BYTES_MAX = 256 * 1024;
/**
 * Of one attempt of a job or a build, before compression and with the time of each line, unless the
 * operator says otherwise.
 */
export const JOB_LOG_BYTES_MAX = 1024 ** 3;
/** What an engine keeps of a container's log at most: platform/docker/confinement.ts. */
export const ENGINE_LOG_BYTES_MAX = 16 * 1024 ** 3;
/** A longer line is cut into pieces that say that they continue. */
export const LINE_BYTES_MAX = 64 * 1024;
export const DAY_MS = 86_400_000;
/** How long log lines are kept, unless the operator says otherwise. */
export const LOG_RETENTION_DAYS = 30;
/** How long the history of a deleted workflow stays, unless the operator says otherwise. */
export const DELETED_RETENTION_DAYS = 30;
/** How long ended jobs are kept, unless the operator says otherwise. */
export const JOB_RETENTION_DAYS = 365;
/** No log line is removed sooner after its job has ended. */
export const RETENTION_DAYS_MIN = 1;
export const REQUEST_BYTES_MAX = 1024 * 1024;
export const PASSWORD_LENGTH_MIN = 8;
export const PASSWORD_LENGTH_MAX = 200;
/** How long a repeated call is known as such. */
export const IDEMPOTENCY_SECONDS = 86_400;
export const IDEMPOTENCY_KEY_LENGTH_MAX = 255;
/** Requested jobs of one workflow that wait for their turn. */
export const REQUESTED_JOBS_MAX = 100;

/** What one user may have, unless the operator says otherwise: each is a setting of this name. */
export const USER_LIMITS = {
  WORKFLOWS_PER_USER: 5_000,
  PAYLOAD_BYTES_PER_USER: 64 * 1024 ** 2,
  GENERATIONS_PER_WORKFLOW: 50,
  QUEUED_HEARTBEATS_PER_USER: 1_000,
  QUEUED_CONTAINERS_PER_USER: 1_000,
  QUEUED_BUILDS_PER_USER: 200,
  VOLUMES_PER_USER: 100,
};
export type UserLimits = typeof USER_LIMITS;
export type UserLimitName = keyof UserLimits;

/**
 * What one worker runs at once of one user, at most; a fair share may be less
 * (domain/fair-share.ts).
 */
export const RUNNING_PER_USER = { heartbeats: 3_000, containers: 100, builds: 3 };

/** How many mutations one user may call in an hour, unless the operator says otherwise. */
export const MUTATIONS_PER_USER_PER_HOUR = 10_000;
/**
 * A user may have so many times as many workflows, where those count that were deleted and are not
 * purged yet.
 */
export const WITH_DELETED_FACTOR = 10;

/**
 * How long an API token is valid at most, and how long audit events are kept, where the operator
 * says nothing.
 */
export const API_TOKEN_DAYS_MAX = 365;
export const AUDIT_RETENTION_DAYS = 365;

/** How long notifications are kept, read or not, unless the operator says otherwise. */
export const NOTIFICATION_RETENTION_DAYS = 90;
