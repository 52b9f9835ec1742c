/**
 * The state machines, as total tables: a missing cell does not compile. The WHERE clauses in db/
 * enforce them, and one test drives every cell through the real statements.
 */

export const JOB_STATUSES = ['PENDING', 'QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELED'] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

export const BUILD_STATUSES = ['QUEUED', 'STARTED', 'COMPLETED', 'FAILED', 'CANCELED'] as const;
export type BuildStatus = (typeof BUILD_STATUSES)[number];

export const WORKFLOW_KINDS = ['HEARTBEAT', 'CONTAINER'] as const;
export type WorkflowKind = (typeof WORKFLOW_KINDS)[number];

export const JOB_TRIGGERS = ['AUTOMATIC', 'MANUAL', 'PING'] as const;
export type JobTrigger = (typeof JOB_TRIGGERS)[number];

/** SYSTEM is the platform's fault, not the workflow's: it does not count towards termination. */
export const FAILURE_REASONS = [
  'EXIT_CODE',
  'CHECK_FAILED',
  'TIMEOUT',
  'OUT_OF_MEMORY',
  'START_FAILED',
  'SYSTEM',
] as const;
export type FailureReason = (typeof FAILURE_REASONS)[number];

export const TERMINATION_REASONS = ['REQUESTED', 'FAILURES', 'DELETED'] as const;
export type TerminationReason = (typeof TERMINATION_REASONS)[number];

/**
 * READY: due slots become jobs. BLOCKED: the newest generation has no COMPLETED build; slots wait.
 * TERMINATED: only a job that is still active keeps the row.
 */
export const SCHEDULE_STATES = ['READY', 'BLOCKED', 'TERMINATED'] as const;
export type ScheduleState = (typeof SCHEDULE_STATES)[number];

/**
 * What a job's status may change to. RUNNING -> PENDING: the attempt was lost, and another one is
 * left.
 */
export const JOB_TRANSITIONS: Record<JobStatus, Record<JobStatus, boolean>> = {
  PENDING: { PENDING: false, QUEUED: true, RUNNING: false, COMPLETED: false, FAILED: false, CANCELED: true },
  QUEUED: { PENDING: false, QUEUED: false, RUNNING: true, COMPLETED: false, FAILED: false, CANCELED: true },
  RUNNING: { PENDING: true, QUEUED: false, RUNNING: false, COMPLETED: true, FAILED: true, CANCELED: true },
  COMPLETED: { PENDING: false, QUEUED: false, RUNNING: false, COMPLETED: false, FAILED: false, CANCELED: false },
  FAILED: { PENDING: false, QUEUED: false, RUNNING: false, COMPLETED: false, FAILED: false, CANCELED: false },
  CANCELED: { PENDING: false, QUEUED: false, RUNNING: false, COMPLETED: false, FAILED: false, CANCELED: false },
};

/** What a build's status may change to. STARTED -> QUEUED: its worker was lost. */
export const BUILD_TRANSITIONS: Record<BuildStatus, Record<BuildStatus, boolean>> = {
  QUEUED: { QUEUED: false, STARTED: true, COMPLETED: false, FAILED: false, CANCELED: true },
  STARTED: { QUEUED: true, STARTED: false, COMPLETED: true, FAILED: true, CANCELED: true },
  COMPLETED: { QUEUED: false, STARTED: false, COMPLETED: false, FAILED: false, CANCELED: false },
  FAILED: { QUEUED: false, STARTED: false, COMPLETED: false, FAILED: false, CANCELED: false },
  CANCELED: { QUEUED: false, STARTED: false, COMPLETED: false, FAILED: false, CANCELED: false },
};

export function isEnded(status: JobStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED' || status === 'CANCELED';
}
