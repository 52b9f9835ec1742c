import type { Db } from '../../db/client.ts';
import { builds, type JobRow, jobs, runRequests, workflows } from '../../db/schema.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { isEnded } from '../../domain/states.ts';
import type { Model, ModelJob, Pause } from './model.ts';

/** The rows in the terms of the model. */
export async function readState(db: Db) {
  const [workflowRows, jobRows, buildRows, requests] = await Promise.all([
    db.select().from(workflows),
    db.select().from(jobs),
    db.select().from(builds),
    db.select().from(runRequests),
  ]);
  const waiting = new Set(requests.map((row) => row.jobId));
  return {
    workflows: new Map(
      workflowRows.map((row) => [
        row.id,
        {
          generation: row.generation,
          buildStatus: row.buildStatus,
          failures: row.consecutiveJobFailuresCount,
          failuresAllowed: row.maxConsecutiveJobFailuresAllowed,
          action: row.onTooManyFailures,
          overlap: row.runPolicy?.overlap ?? 'QUEUE',
          maxRetries: row.runPolicy?.retry.maxRetries ?? 0,
          pause: row.pauseReason && { reason: row.pauseReason, note: row.pauseNote, ends: row.pausedUntil !== null },
          reason: row.terminationReason,
          deleted: row.deletedAt !== null,
          purged: row.purgeRequestedAt !== null,
        },
      ]),
    ),
    jobs: new Map(jobRows.map((row) => [row.id, toModel(row, waiting)])),
    builds: new Map(
      buildRows.map(
        ({ id, workflowId, generation, status, attempt, uncountedAttempts: uncounted, leaseToken: token }) => [
          id,
          { workflowId, generation, status, attempt, uncounted, token },
        ],
      ),
    ),
  };
}

/** The state of the model in the same form. */
export function expectedState(model: Model) {
  return {
    workflows: new Map(
      [...model.workflows].map(
        ([id, { container: _, variant: __, runs: ___, pause, ...workflow }]) =>
          [id, { ...workflow, pause: pause && asRow(pause) }] as const,
      ),
    ),
    jobs: model.jobs,
    builds: model.builds,
  };
}

function asRow({ endsAt, ...pause }: Pause) {
  return { ...pause, ends: endsAt !== undefined };
}

/**
 * Checks what the scheduling worker has done with the jobs, and copies it into the model. Throws at
 * a change that is not allowed. `expired` are the workflows of which a lease may have expired.
 */
export async function judgeScheduling(db: Db, model: Model, expired: ReadonlySet<string>): Promise<void> {
  const requests = await db.select().from(runRequests);
  const requested = new Set(requests.map((row) => row.workflowId));
  const waiting = new Set(requests.map((row) => row.jobId));
  for (const row of await db.select().from(jobs)) {
    const before = model.jobs.get(row.id);
    const after = toModel(row, waiting);
    const reproach = before
      ? (reproachChange(model, before, after, expired.has(row.workflowId)) ?? reproachRetry(model, row.id, after))
      : reproachNew(model, row, requested.has(row.workflowId));
    if (reproach) throw new Error(`${reproach}: ${JSON.stringify({ before, after })}`);
    model.jobs.set(row.id, after);
  }
}

function reproachNew(model: Model, job: JobRow, requested: boolean): string | undefined {
  const workflow = model.workflows.get(job.workflowId);
  if (job.trigger !== 'AUTOMATIC') return 'A MANUAL job that nobody asked for';
  if (workflow?.reason !== null) return 'A job of a terminated workflow';
  if (workflow.runs === undefined) return 'A job without a build';
  if (workflow.runs !== job.generation) return 'A job of another generation';
  if (model.isPaused(job.workflowId)) return 'A slot that ran in a pause';
  return requested ? 'A slot that came before a request' : undefined;
}

function reproachChange(model: Model, before: ModelJob, after: ModelJob, expired: boolean): string | undefined {
  const terminated = model.workflows.get(before.workflowId)?.reason !== null;
  if (isEnded(before.status)) return after.status === before.status ? undefined : 'An ended job that has changed';
  if (before.attempt !== after.attempt || before.uncounted !== after.uncounted || before.retries !== after.retries)
    return 'An attempt out of nothing';
  const counted = before.attempt - before.uncounted - before.retries;
  if (after.waits !== (before.waits && after.status === 'PENDING')) return 'A request that is dispatched and waits';
  const replaced = isReplaced(model, before);
  if (after.stopping && !before.stopping && !replaced) return 'A job that nobody stopped';
  switch (after.status) {
    case before.status:
      return terminated && before.status !== 'RUNNING' ? 'A job that outlives its workflow' : undefined;
    case 'QUEUED':
      return before.status === 'PENDING' && !terminated ? undefined : 'A job that should not be dispatched';
    case 'CANCELED':
      if (before.status === 'RUNNING')
        return (before.stopping || replaced) && expired ? undefined : 'A job that nobody canceled';
      return terminated || replaced ? undefined : 'A job that nobody canceled';
    case 'PENDING':
      return before.status === 'RUNNING' && expired && counted < ATTEMPTS_MAX && !before.stopping
        ? undefined
        : 'A job that was not lost';
    case 'FAILED':
      return before.status === 'RUNNING' && expired && counted >= ATTEMPTS_MAX && !before.stopping
        ? undefined
        : 'A job that should not have failed';
    default:
      return 'A change that is not the scheduling worker’s';
  }
}

/** Whether a due slot may have replaced the job. */
function isReplaced(model: Model, { workflowId, waits }: ModelJob): boolean {
  const workflow = model.workflows.get(workflowId);
  return workflow?.overlap === 'REPLACE' && workflow.runs !== undefined && !waits && !model.isPaused(workflowId);
}

/** A failed job waits for its time, and no longer than that, unless workers were lost before. */
function reproachRetry(model: Model, id: string, job: ModelJob): string | undefined {
  const retry = model.retries.get(id);
  if (retry === undefined) return undefined;
  const now = model.now(job.workflowId);
  const wasLost = job.attempt - job.uncounted > job.retries;
  if (job.status === 'PENDING') return now > retry.until && !wasLost ? 'A retry that nobody begins' : undefined;
  if (job.status === 'QUEUED' && now < retry.from) return 'A retry before its time';
  model.retries.delete(id);
  return undefined;
}

function toModel(row: JobRow, waiting: ReadonlySet<string>): ModelJob {
  const { workflowId, generation, status, attempt, uncountedAttempts: uncounted, retries, leaseToken: token } = row;
  const stopping = row.cancelRequestedAt !== null;
  return { workflowId, generation, status, attempt, uncounted, retries, stopping, waits: waiting.has(row.id), token };
}
