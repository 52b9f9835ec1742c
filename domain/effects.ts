import type { Changed } from './hints.ts';
import type { WorkflowKind } from './states.ts';

/** Rows of one user that changed. */
export type UserChange = { userId: string } & Changed;

/** A QUEUED job, as its event names it. */
export interface DispatchedJob {
  id: string;
  userId: string;
  kind: WorkflowKind;
}

/** A job that has FAILED, or an attempt that is followed by another, for the operator's log. */
export interface FailedJob {
  jobId: string;
  workflowId: string;
  userId: string;
  reason: string;
  message: string;
  /** Whether the job goes on with another attempt. */
  isRetried: boolean;
}

/** A run that its policy dropped, for the operator's log. */
export interface SkippedRun {
  workflowId: string;
  userId: string;
  message: string;
}

/**
 * What must be published after a state change is committed. Every function in `db/` that changes
 * the state of a job, a build or a workflow returns it, and `publishEffects` (platform/publish.ts)
 * sends it.
 */
export interface Effects {
  /** Rows that changed: subscribers read them again. */
  readonly changed: readonly UserChange[];
  /** What workers must stop: RUNNING jobs whose cancellation was requested, and canceled builds. */
  readonly stopping: { readonly jobIds: readonly string[]; readonly buildIds: readonly string[] };
  /**
   * Jobs and builds that ended while their last lines may still be on the bus. An end-of-log marker
   * behind those lines settles how many there are (db/logs/markers.ts).
   */
  readonly logEnds: readonly string[];
  readonly failed: readonly FailedJob[];
  readonly skipped: readonly SkippedRun[];
  /** QUEUED jobs for the workers. */
  readonly dispatched: readonly DispatchedJob[];
  /** QUEUED builds for the workers. */
  readonly queuedBuildIds: readonly string[];
  /** Whether a schedule is due earlier than the scheduling worker expects. */
  readonly wakeScheduler: boolean;
}

/**
 * The effects of a change that needs no publishing. Write other effects as
 * `{ ...noEffects, changed }`.
 */
export const noEffects: Effects = Object.freeze({
  changed: [],
  stopping: { jobIds: [], buildIds: [] },
  logEnds: [],
  failed: [],
  skipped: [],
  dispatched: [],
  queuedBuildIds: [],
  wakeScheduler: false,
});

/** Joins the effects of several changes, to publish them as one. */
export function mergeEffects(...all: readonly Effects[]): Effects {
  return {
    changed: all.flatMap(({ changed }) => changed),
    stopping: {
      jobIds: all.flatMap(({ stopping }) => stopping.jobIds),
      buildIds: all.flatMap(({ stopping }) => stopping.buildIds),
    },
    logEnds: all.flatMap(({ logEnds }) => logEnds),
    failed: all.flatMap(({ failed }) => failed),
    skipped: all.flatMap(({ skipped }) => skipped),
    dispatched: all.flatMap(({ dispatched }) => dispatched),
    queuedBuildIds: all.flatMap(({ queuedBuildIds }) => queuedBuildIds),
    wakeScheduler: all.some(({ wakeScheduler }) => wakeScheduler),
  };
}
