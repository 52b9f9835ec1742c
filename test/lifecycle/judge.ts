import type { Db } from '../../db/client.ts';
import { builds, type JobRow, jobs, runRequests, workflows } from '../../db/schema.ts';
import { ATTEMPTS_MAX } from '../../domain/limits.ts';
import { isEnded } from '../../domain/states.ts';
import type { Model, ModelJob } from './model.ts';

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
        ([id, { container: _, variant: __, runs: ___, ...workflow }]) => [id, workflow] as const,
      ),
    ),
    jobs: model.jobs,
    builds: model.builds,
  };
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
      ? reproachChange(model, before, after, expired.has(row.workflowId))
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
  return requested ? 'A slot that came before a request' : undefined;
}

function reproachChange(model: Model, before: ModelJob, after: ModelJob, expired: boolean): string | undefined {
  const terminated = model.workflows.get(before.workflowId)?.reason !== null;
  if (isEnded(before.status)) return after.status === before.status ? undefined : 'An ended job that has changed';
  if (before.attempt !== after.attempt || before.uncounted !== after.uncounted) return 'An attempt out of nothing';
  const counted = before.attempt - before.uncounted;
  if (after.waits !== (before.waits && after.status === 'PENDING')) return 'A request that is dispatched and waits';
  switch (after.status) {
    case before.status:
      return terminated && before.status !== 'RUNNING' ? 'A job that outlives its workflow' : undefined;
    case 'QUEUED':
      return before.status === 'PENDING' && !terminated ? undefined : 'A job that should not be dispatched';
    case 'CANCELED':
      if (before.status === 'RUNNING') return before.stopping && expired ? undefined : 'A job that nobody canceled';
      return terminated ? undefined : 'A job that nobody canceled';
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

function toModel(row: JobRow, waiting: ReadonlySet<string>): ModelJob {
  const { workflowId, generation, status, attempt, uncountedAttempts: uncounted, leaseToken: token } = row;
  const stopping = row.cancelRequestedAt !== null;
  return { workflowId, generation, status, attempt, uncounted, stopping, waits: waiting.has(row.id), token };
}
