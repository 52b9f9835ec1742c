/**
 * Bounds of the whole system. Each name ends with its unit. Operator maximums are settings
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
/** How late a ping may come, and how long a run may take that has said that it started. */
export const PING_START_GRACE_SECONDS = 300;
export const PING_RUN_GRACE_SECONDS = 3_600;
export const PING_GRACE_SECONDS_MAX = 30 * 86_400;
/** What is read of the body of a ping. */
export const PING_BODY_BYTES_MAX = 100_000;
/**
 * The lines of one ping, and those that wait for the log of the next job, each with the time of
 * each line. Both fit into a chunk.
 */
export const PING_LOG_BYTES_MAX = 128 * 1024;
export const PINGS_PER_TOKEN_PER_MINUTE = 30;
export const CONTAINER_TIMEOUT_SECONDS = 3_600;
/** How long a container may take to end after its stop signal, unless its payload says another. */
export const STOP_GRACE_SECONDS = 10;
export const STOP_GRACE_SECONDS_MAX = 600;

/** The resources of a container whose payload names none. */
export const CONTAINER_RESOURCES = { cpus: 1, memoryMb: 512, pids: 256 };
/** The most that a payload may ask for, unless the operator says otherwise. */
export const CONTAINER_RESOURCES_MAX = { cpus: 4, memoryMb: 4096, pids: 4096 };
export const CONTAINER_CPUS_MIN = 0.01; // the engine's own minimum
export const CONTAINER_MEMORY_MB_MIN = 6; // the engine's own minimum
export const VOLUMES_MAX = 20;
/** Volumes without a name that an image or a Dockerfile declares. */
export const IMAGE_VOLUMES_MAX = 100;
/** The size of the labels of an image that a payload names, as JSON. Most have less than 5 KB. */
export const IMAGE_LABEL_BYTES_MAX = 64 * 1024;
/** How many of the workflows that name one volume are listed with it. */
export const VOLUME_WORKFLOWS_MAX = 20;
export const BUILD_FILES_MAX = 100;
/** The length of a file's name in a tar archive without extensions. */
export const BUILD_FILE_PATH_BYTES_MAX = 100;

export const ATTEMPTS_MAX = 3;
export const LEASE_SECONDS = 30;
export const LEASE_RENEW_SECONDS = 10;

/**
 * How long the scheduling worker leaves an active job alone before it checks whether it is stuck.
 */
export const RECHECK_SECONDS = 30;
/** The longest time between two looks at a job that waits for a worker (domain/reconcile.ts). */
export const RECHECK_SECONDS_MAX = { HEARTBEAT: 900, CONTAINER: 120 };
/**
 * A CONTAINER job loses an attempt when its engine stays away longer than this beyond the lease's
 * end.
 */
export const ADOPTION_SECONDS = 60;

/** How often a worker gives a sign of life, and after how long without one it counts as lost. */
export const WORKER_BEAT_SECONDS = 10;
export const WORKER_LIVE_SECONDS = 30;
/** How long the row of a worker without a sign of life stays. */
export const WORKER_KEPT_SECONDS = 3_600;
export const WORKERS_LISTED_MAX = 1_000;
/**
 * How long a job waits for an engine that no worker reaches, if only that engine has its image or
 * its volume: time for an upgrade or a reboot of its machine.
 */
export const ENGINE_AWAY_SECONDS = 900;
/** How long a worker leaves a job that it cannot run to other workers before it looks again. */
export const PASS_SECONDS = 30;
/**
 * How long a worker that could get a job's image leaves the job to the worker whose engine has it.
 * That worker looks every second.
 */
export const PREFER_SECONDS = 3;

/**
 * How many ids one event on `workflows` holds. A hint needs no more than ids, and packing them
 * gives most of the throughput.
 */
export const IDS_PER_EVENT_MAX = 256;
/** The size of a log chunk before compression. */
export const CHUNK_BYTES_MAX = 256 * 1024;
/**
 * The size of the log of one attempt of a job or a build, before compression and with the time of
 * each line, unless the operator says otherwise.
 */
export const JOB_LOG_BYTES_MAX = 1024 ** 3;
/** The most that an engine keeps of a container's log: platform/docker/confinement.ts. */
export const ENGINE_LOG_BYTES_MAX = 16 * 1024 ** 3;
/** A longer line is cut into pieces that are marked as continued. */
export const LINE_BYTES_MAX = 64 * 1024;
export const DAY_MS = 86_400_000;
/** How long log lines are kept, unless the operator says otherwise. */
export const LOG_RETENTION_DAYS = 30;
/** How long the history of a deleted workflow stays, unless the operator says otherwise. */
export const DELETED_RETENTION_DAYS = 30;
/**
 * How long a pulled image stays on an engine after its last use, unless the operator says
 * otherwise.
 */
export const IMAGE_RETENTION_DAYS = 30;
/** How long ended jobs are kept, unless the operator says otherwise. */
export const JOB_RETENTION_DAYS = 365;
/** The shortest time between the end of a job and the removal of its log lines. */
export const RETENTION_DAYS_MIN = 1;
/** `totalCount` counts the items of a list up to this many. */
export const COUNTED_MAX = 10_000;
export const REQUEST_BYTES_MAX = 1024 * 1024;
export const PASSWORD_LENGTH_MIN = 8;
export const PASSWORD_LENGTH_MAX = 200;
/** How long a repeated call is recognised as a repetition. */
export const IDEMPOTENCY_SECONDS = 86_400;
export const IDEMPOTENCY_KEY_LENGTH_MAX = 255;
/** How many requested jobs of one workflow may wait for their turn. */
export const REQUESTED_JOBS_MAX = 100;

/** What one user may have, unless the operator says otherwise. Each is a setting of this name. */
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
 * The most that one worker runs at once for one user. A fair share may be less
 * (domain/fair-share.ts).
 */
export const RUNNING_PER_USER = { heartbeats: 3_000, containers: 100, builds: 3 };

/** How many mutations one user may call in an hour, unless the operator says otherwise. */
export const MUTATIONS_PER_USER_PER_HOUR = 10_000;
/** A form asks for one at each key stroke. */
export const SCHEDULE_PREVIEWS_PER_USER_PER_MINUTE = 600;
export const PAUSE_NOTE_LENGTH_MAX = 1_000;
/**
 * A user may have this many times as many workflows when those count too that are deleted and not
 * purged yet.
 */
export const WITH_DELETED_FACTOR = 10;

/**
 * How long an API token is valid at most, and how long audit events are kept, unless the operator
 * says otherwise.
 */
export const API_TOKEN_DAYS_MAX = 365;
export const AUDIT_RETENTION_DAYS = 365;

/** How long notifications are kept, read or not, unless the operator says otherwise. */
export const NOTIFICATION_RETENTION_DAYS = 90;
/** What was delivered over alert channels is kept for so long. */
export const ALERT_DELIVERY_DAYS = 30;

export const ALERT_CHANNELS_PER_USER_MAX = 20;
export const ALERT_CHANNELS_PER_WORKFLOW_MAX = 10;
export const ALERT_CHANNEL_NAME_LENGTH_MAX = 100;
export const ALERT_AFTER_FAILURES_MAX = 1_000;
/** How long the code of an e-mail address is valid, and how often it may be tried. */
export const CODE_HOURS = 24;
export const CODE_TRIES_MAX = 5;
/** How many codes one user may have sent to addresses in a day. */
export const CODES_PER_USER_PER_DAY = 10;
/** How many tests of channels one user may ask for, those of `enableAlertChannel` included. */
export const ALERT_TESTS_PER_USER_PER_MINUTE = 5;
export const MUTE_DAYS_MAX = 30;
