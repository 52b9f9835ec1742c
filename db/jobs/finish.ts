import { sql } from 'drizzle-orm';
import type { FailureReason } from '../../domain/states.ts';
import { COUNT_ENDED } from '../analytics.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { type Event, type Notified, notify, TELL_COMPLETED } from '../notifications.ts';
import { rowSet, sortedById } from '../row-set.ts';
import { wakeWaiting } from './dispatch.ts';

export interface Outcome {
  id: string;
  workflowId: string;
  leaseToken: string;
  status: 'COMPLETED' | 'FAILED' | 'CANCELED';
  exitCode?: number;
  failureReason?: FailureReason;
  failureMessage?: string;
  /** All lines of the job, those of earlier attempts included. */
  logLineCount: number;
}

export interface Ended {
  /** Those that ended here. The others were no longer held: another worker or the sweep has them. */
  ended: Set<string>;
  /** Workflows whose count of failures has changed, those that it has terminated among them. */
  countedWorkflowIds: string[];
  /** Builds of those, of later generations: their worker is to stop them. */
  canceledBuilds: { id: string; workflowId: string }[];
  notified: Notified[];
  /** Whether something waited for one of them: the scheduling worker is to be woken. */
  woken: boolean;
}

/**
 * RUNNING -> COMPLETED, FAILED or CANCELED, of jobs that are held under the lease presented.
 *
 * One transaction ends a job: its status, its workflow's failure count, termination at the threshold, notifications, and what is added to
 * the totals. Where the count does not change (a success at 0, a cancellation), which is nearly always, that is one statement which touches jobs and one
 * row for the totals of the set. The others lock workflows, then schedules, then jobs: the order that terminateWorkflow and its like keep too.
 */
export async function endJobs(db: Db, outcomes: Outcome[]): Promise<Ended> {
  const uncounted = await endUncounted(
    db,
    outcomes.filter((outcome) => outcome.status !== 'FAILED'),
  );
  const ended = new Set(uncounted.ids);
  // Of the rest, successes after failures and failures change a count or notify; those that are no longer held change nothing.
  const rest = outcomes.filter((outcome) => !ended.has(outcome.id));
  const counted = await endCounted(db, rest);
  for (const id of counted.ids) ended.add(id);
  const workflowIds = outcomes.filter(({ id }) => ended.has(id)).map((outcome) => outcome.workflowId);
  const waiting = await wakeWaiting(db, workflowIds);
  const { countedWorkflowIds, terminated, canceledBuilds } = counted;
  const notified = [...uncounted.notified, ...counted.notified];
  const woken = waiting > 0 || terminated.length > 0;
  return { ended, countedWorkflowIds, canceledBuilds, notified, woken };
}

function isSystem(outcome: Outcome): boolean {
  return outcome.failureReason === 'SYSTEM';
}

async function endUncounted(db: Db, outcomes: Outcome[]): Promise<{ ids: string[]; notified: Notified[] }> {
  if (outcomes.length === 0) return { ids: [], notified: [] };
  const rows = await db.execute<{ id: string; user_id: string | null }>(sql`
    WITH /* endUncounted */ ended AS (
      ${endHeld(outcomes)} AND (u.status <> 'COMPLETED'
        OR (SELECT consecutive_job_failures_count FROM workflows WHERE id = u.workflow_id) IS NOT DISTINCT FROM 0)
      ${RETURNING}
    ), counted AS (${COUNT_ENDED}), ${TELL_COMPLETED}
    SELECT id, NULL::uuid AS user_id FROM ended UNION ALL SELECT id, user_id FROM told`);
  return {
    ids: rows.flatMap((row) => (row.user_id === null ? [row.id] : [])),
    notified: rows.flatMap((row) => (row.user_id === null ? [] : [{ id: row.id, userId: row.user_id }])),
  };
}

type Counted = { ids: string[]; countedWorkflowIds: string[]; terminated: string[] } & Pick<
  Ended,
  'canceledBuilds' | 'notified'
>;

async function endCounted(db: Db, outcomes: Outcome[]): Promise<Counted> {
  if (outcomes.length === 0)
    return { ids: [], countedWorkflowIds: [], terminated: [], canceledBuilds: [], notified: [] };
  const ids = outcomes.map((outcome) => outcome.workflowId);
  const workflowIds = array(ids, 'uuid');
  return db.transaction(async (tx) => {
    await tx.execute(
      sql`SELECT /* endCounted */ FROM workflows WHERE id = ANY(${workflowIds}) ORDER BY id FOR NO KEY UPDATE`,
    );
    await tx.execute(
      sql`SELECT /* endCounted */ FROM schedules WHERE workflow_id = ANY(${workflowIds}) ORDER BY workflow_id FOR UPDATE`,
    );
    const rows = await tx.execute<{ id: string }>(sql`
      WITH /* endCounted */ ended AS (${endHeld(outcomes)} ${RETURNING}), counted AS (${COUNT_ENDED}) SELECT id FROM ended`);
    const ids = new Set(rows.map((row) => row.id));
    const counting = outcomes
      .filter((outcome) => ids.has(outcome.id) && outcome.status !== 'CANCELED' && !isSystem(outcome))
      .map((outcome) => ({ id: outcome.workflowId, failed: outcome.status === 'FAILED' }));
    const counted = await tx.execute<{ id: string; terminated: boolean; failures: number; recovered: boolean }>(sql`
      UPDATE /* endCounted */ workflows SET updated_at = now(),
        consecutive_job_failures_count = CASE WHEN u.failed THEN consecutive_job_failures_count + 1 ELSE 0 END,
        terminated_at = CASE WHEN u.failed AND consecutive_job_failures_count + 1 >= max_consecutive_job_failures_allowed THEN now() END,
        termination_reason = CASE WHEN u.failed AND consecutive_job_failures_count + 1 >= max_consecutive_job_failures_allowed THEN 'FAILURES' END
      FROM (
        SELECT u.*, alive.failures FROM ${rowSet('u', counting, { id: 'uuid', failed: 'boolean' })}, LATERAL (
          SELECT consecutive_job_failures_count AS failures FROM workflows WHERE id = u.id AND terminated_at IS NULL LIMIT 1) alive
      ) u
      WHERE workflows.id = u.id
      RETURNING workflows.id, terminated_at IS NOT NULL AS terminated, NOT u.failed AND u.failures > 0 AS recovered,
        CASE WHEN u.failed THEN u.failures + 1 ELSE u.failures END AS failures`);
    const terminated = counted.filter((row) => row.terminated).map((row) => row.id);
    // The scheduling worker cancels what still asks to be run, and removes the row.
    await tx.execute(sql`
      UPDATE /* endCounted */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
      WHERE workflow_id = ANY(${array(terminated, 'uuid')})`);
    const of = (kind: Event['kind'], { id, failures }: { id: string; failures: number }): Event => ({
      kind,
      workflowId: id,
      detail: String(failures),
    });
    const notified = await notify(tx, [
      ...outcomes.filter((outcome) => ids.has(outcome.id)).flatMap(jobEvent),
      ...counted.filter((row) => row.terminated).map((row) => of('WORKFLOW_TERMINATED', row)),
      ...counted.filter((row) => row.recovered).map((row) => of('WORKFLOW_RECOVERED', row)),
    ]);
    const countedWorkflowIds = counted.map((row) => row.id);
    const canceledBuilds = await cancelBuildsOf(tx, terminated);
    return { ids: [...ids], countedWorkflowIds, terminated, notified, canceledBuilds };
  });
}

function jobEvent({ id, workflowId, status, failureMessage }: Outcome): Event[] {
  if (status === 'CANCELED') return [];
  return [
    { kind: status === 'FAILED' ? 'JOB_FAILED' : 'JOB_COMPLETED', workflowId, jobId: id, detail: failureMessage },
  ];
}

/** What counting and notifying needs. */
const RETURNING = sql`RETURNING jobs.id, jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count`;

/** A job may fail once too often while the next generation is built. */
async function cancelBuildsOf(tx: Pick<Db, 'execute'>, workflowIds: string[]): Promise<Ended['canceledBuilds']> {
  if (workflowIds.length === 0) return [];
  const rows = await tx.execute<{ id: string; workflow_id: string }>(sql`
    WITH /* cancelBuildsOf */ locked AS MATERIALIZED (
      SELECT id FROM builds WHERE workflow_id = ANY(${array(workflowIds, 'uuid')}) AND completed_at IS NULL
      ORDER BY id FOR UPDATE
    ), canceled AS (
      UPDATE builds SET status = 'CANCELED', completed_at = now(), lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
        log_open = started_at IS NOT NULL
      FROM locked WHERE builds.id = locked.id RETURNING builds.id, workflow_id
    ), shown AS (
      UPDATE workflows SET build_status = 'CANCELED' FROM canceled WHERE workflows.id = canceled.workflow_id
    )
    SELECT id, workflow_id FROM canceled`);
  return rows.map((row) => ({ id: row.id, workflowId: row.workflow_id }));
}

/**
 * The lease token says that the job is RUNNING and held (a CHECK ties the two). No condition on `jobs` alone: stale statistics
 * would make of it that hardly a row matches, and the planner would read all of jobs and compare each with each. In the order of the ids, as
 * renewals lock too.
 */
function endHeld(outcomes: Outcome[]) {
  return sql`
    UPDATE jobs SET status = u.status, completed_at = now(), updated_at = now(),
      exit_code = u.exit_code, failure_reason = u.failure_reason, failure_message = u.failure_message,
      log_line_count = u.log_line_count,
      lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL
    FROM ${rowSet('u', sortedById(outcomes), OUTCOME_COLUMNS)}
    WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token`;
}

const OUTCOME_COLUMNS = {
  id: 'uuid',
  workflowId: 'uuid',
  leaseToken: 'uuid',
  status: 'text',
  exitCode: 'integer',
  failureReason: 'text',
  failureMessage: 'text',
  logLineCount: 'integer',
} as const;
