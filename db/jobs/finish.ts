import { type SQL, sql } from 'drizzle-orm';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';
import { RECHECK_SECONDS } from '../../domain/limits.ts';
import type { RetryPolicy } from '../../domain/schedule/run-policy.ts';
import type { FailureReason } from '../../domain/states.ts';
import { countInIncidents, type Resolved, resolveIncidents } from '../alerts/incidents.ts';
import { ALERT_COMPLETED, type Alerting, recordAlerts } from '../alerts/record.ts';
import { COUNT_ENDED } from '../analytics.ts';
import { array, seconds, words } from '../arrays.ts';
import type { Db } from '../client.ts';
import { cancelBuilds } from '../ends/cancel-builds.ts';
import { endColumns } from '../ends/columns.ts';
import { CHANGED_COLUMNS, type ChangedJob, failureEffects, jobEffects } from '../ends/jobs.ts';
import { eachDay, eachDayOf } from '../job-days.ts';
import { storeLastLines } from '../logs/append.ts';
import { type Event, NOTIFY_COMPLETED, notificationEffects, notify } from '../notifications.ts';
import { rowSet, sortedById } from '../row-set.ts';
import { wakeWaiting } from './dispatch.ts';

export interface Outcome {
  id: string;
  workflowId: string;
  leaseToken: string;
  status: 'COMPLETED' | 'FAILED' | 'CANCELED';
  exitCode?: number | undefined;
  failureReason?: FailureReason | undefined;
  failureMessage?: string | undefined;
  /** No run policy retries it: another attempt would find the same. */
  isFinal?: boolean | undefined;
  /** All lines of the job, including those of earlier attempts. */
  logLineCount: number;
  /**
   * The lines that are not on the bus, up to the last one, packed. They are stored with the end.
   */
  lastLines?: { firstNumber: number; lines: Buffer } | undefined;
}

/**
 * RUNNING -> COMPLETED, FAILED or CANCELED, for jobs under the presented leases.
 *
 * One transaction ends a job: its status, its last lines, the failure count of its workflow,
 * termination at the threshold, notifications, and the totals. Nearly always the failure count does
 * not change (a success at 0, a cancellation). Then one statement suffices, which touches the jobs,
 * their lines and one row of totals for the whole set. The other ends lock workflows, then
 * schedules, then jobs, in the order that terminateWorkflow uses too.
 *
 * - `after_failure` tells whether a success changes the count. It is false only if the count was 0
 *   when the job was made, under the lock of its schedule. The count changes only at the end of a
 *   job of the workflow, and one job is active at a time: so the count is still 0.
 * - `awaited` tells whether the schedule may wait for the end (markAwaited in db/jobs/dispatch.ts).
 */
export async function endJobs(
  db: Db,
  outcomes: Outcome[],
): Promise<{
  /**
   * The jobs that this call ended. The leases of the others were lost: another worker or the sweep
   * has those jobs.
   */
  ended: Set<string>;
  effects: Effects;
}> {
  const uncounted = await endUncounted(
    db,
    outcomes.filter((outcome) => outcome.status !== 'FAILED'),
  );
  // The rest are failures, and successes after failures: they change a count or notify. A job whose
  // lease is lost changes nothing.
  const rest = outcomes.filter((outcome) => !uncounted.ended.has(outcome.id));
  const counted = await endCounted(db, rest);
  const wakeScheduler = (await wakeWaiting(db, [...uncounted.awaited, ...counted.awaited])) > 0;
  return {
    ended: new Set([...uncounted.ended, ...counted.ended]),
    effects: mergeEffects(uncounted.effects, counted.effects, { ...noEffects, wakeScheduler }),
  };
}

interface Finished {
  ended: Set<string>;
  /** The workflows whose schedules may wait for these ends. */
  awaited: string[];
  effects: Effects;
}

const NOTHING: Finished = { ended: new Set(), awaited: [], effects: noEffects };

/**
 * Ends the jobs that change no failure count, in one statement for each day. It answers with a row
 * for each user.
 */
async function endUncounted(db: Db, outcomes: Outcome[]): Promise<Finished> {
  if (outcomes.length === 0) return NOTHING;
  const end = (jobs: SQL, ofDay: Outcome[]) => {
    const { rows: ending, texts } = toRows(ofDay);
    return db.execute<{ user_id: string; ended: string; awaited: string; notified: string }>(sql`
    WITH /* endUncounted */ ended AS (
      ${finishLeased(jobs, ending)} AND (u.status <> 'COMPLETED' OR NOT after_failure)
      RETURNING ${ENDED_COLUMNS}
    ), stored AS (${storeLastLines(texts)}), counted AS (${COUNT_ENDED}), ${NOTIFY_COMPLETED}, ${ALERT_COMPLETED}
    SELECT user_id, string_agg(id::text, ' ') AS ended,
      coalesce(string_agg(workflow_id::text, ' ') FILTER (WHERE awaited), '') AS awaited, '' AS notified
    FROM ended GROUP BY user_id
    UNION ALL SELECT user_id, '', '', string_agg(id::text, ' ') FROM notified GROUP BY user_id`);
  };
  const rows = await eachDay(db, outcomes, idOf, end);
  const all = rows.map(({ user_id: userId, ended, awaited, notified }) => ({
    awaited: words(awaited),
    changed: { userId, jobs: words(ended), notifications: words(notified) },
  }));
  return {
    ended: new Set(all.flatMap(({ changed }) => changed.jobs)),
    awaited: all.flatMap(({ awaited }) => awaited),
    effects: { ...noEffects, changed: all.map(({ changed }) => changed) },
  };
}

type CountedWorkflow = {
  id: string;
  user_id: string;
  terminated: boolean;
  /** Too many jobs have failed, and it was not paused for that before. */
  paused: boolean;
  failures: number;
  recovered: boolean;
  failed: boolean;
  /** The failures are as many as make an incident. */
  is_incident: boolean;
  muted: boolean;
};

/**
 * Ends the other jobs and updates the failure counts of their workflows. A failed job that its run
 * policy retries goes on instead, and changes no count.
 */
async function endCounted(db: Db, given: Outcome[]): Promise<Finished> {
  if (given.length === 0) return NOTHING;
  const ids = given.map((outcome) => outcome.workflowId);
  const workflowIds = array(ids, 'uuid');
  return db.transaction(async (tx) => {
    const policies = await tx.execute<{ id: string; retry: RetryPolicy | null; min_seconds: number | null }>(sql`
      SELECT /* endCounted */ id, CASE WHEN terminated_at IS NULL THEN run_policy->'retry' END AS retry,
        (run_policy->>'expectedMinSeconds')::integer AS min_seconds
      FROM workflows WHERE id = ANY(${workflowIds}) ORDER BY id FOR NO KEY UPDATE`);
    await tx.execute(
      sql`SELECT /* endCounted */ FROM schedules WHERE workflow_id = ANY(${workflowIds}) ORDER BY workflow_id FOR UPDATE`,
    );
    const retried = await retryJobs(tx, given, new Map(policies.map(({ id, retry }) => [id, retry])));
    const outcomes = given.filter(({ id }) => !retried.ids.has(id));
    const end = (jobs: SQL, ofDay: Outcome[]) => {
      const { rows, texts } = toRows(ofDay);
      return tx.execute<ChangedJob & { awaited: boolean; seconds: number }>(sql`
      WITH /* endCounted */ ended AS (${finishLeased(jobs, rows)} RETURNING ${ENDED_COLUMNS}),
        stored AS (${storeLastLines(texts)}), counted AS (${COUNT_ENDED})
      SELECT id, workflow_id, user_id, status, failure_reason, failure_message, log_open, awaited,
        extract(epoch FROM now() - started_at)::float8 AS seconds FROM ended`);
    };
    const jobs = await eachDay(tx, outcomes, idOf, end);
    const finished = new Set(jobs.map(({ id }) => id));
    const counting = outcomes
      .filter((outcome) => finished.has(outcome.id) && outcome.status !== 'CANCELED' && !isSystem(outcome))
      .map((outcome) => ({ id: outcome.workflowId, failed: outcome.status === 'FAILED' }));
    // Before the count: its trigger looks whether an incident is open.
    const resolved = await resolveIncidents(
      tx,
      counting.filter(({ failed }) => !failed).map(({ id }) => id),
      'RECOVERED',
    );
    const counted = await tx.execute<CountedWorkflow>(sql`
      UPDATE /* endCounted */ workflows SET updated_at = now(),
        consecutive_job_failures_count = CASE WHEN u.failed THEN u.failures + 1 ELSE 0 END,
        terminated_at = CASE WHEN u.action = 'TERMINATE' THEN now() END,
        termination_reason = CASE WHEN u.action = 'TERMINATE' THEN 'FAILURES' END,
        skipped_run_count = CASE WHEN u.action = 'TERMINATE' THEN coalesce((
          SELECT s.skipped_run_count FROM schedules s WHERE s.workflow_id = workflows.id), 0) ELSE workflows.skipped_run_count END,
        paused_at = CASE WHEN u.pauses AND NOT u.is_paused THEN now() WHEN NOT u.is_over THEN paused_at END,
        paused_until = CASE WHEN u.pauses IS NOT TRUE AND NOT u.is_over THEN paused_until END,
        pause_reason = CASE WHEN u.pauses THEN 'FAILURES' WHEN NOT u.is_over THEN pause_reason END,
        pause_note = CASE WHEN u.pauses AND NOT u.is_paused OR u.is_over THEN NULL ELSE pause_note END
      FROM (
        SELECT u.*, alive.*, action, action = 'PAUSE' AND NOT (is_paused AND paused_because = 'FAILURES') AS pauses
        FROM ${rowSet('u', counting, { id: 'uuid', failed: 'boolean' })}, LATERAL (
          SELECT CASE WHEN is_over THEN 0 ELSE consecutive_job_failures_count END AS failures, is_over, max_consecutive_job_failures_allowed AS allowed, on_too_many_failures,
            paused_at IS NOT NULL AND (paused_until > now()) IS NOT FALSE AS is_paused, pause_reason AS paused_because
          FROM workflows, LATERAL ( -- a pause for failures that has ended by itself: as if it had been resumed
            SELECT pause_reason IS NOT DISTINCT FROM 'FAILURES' AND (paused_until <= now()) IS TRUE AS is_over) pause
          WHERE id = u.id AND terminated_at IS NULL LIMIT 1) alive,
          LATERAL (SELECT CASE WHEN u.failed AND failures + 1 >= allowed THEN on_too_many_failures END AS action) reached
      ) u
      WHERE workflows.id = ANY(ARRAY[u.id])
      RETURNING workflows.id, workflows.user_id, terminated_at IS NOT NULL AS terminated, NOT u.failed AND u.failures > 0 AS recovered,
        u.pauses IS TRUE AS paused, u.failed, u.failed AND u.failures + 1 >= alert_after_failures AS is_incident, (muted_until > now()) IS TRUE AS muted,
        CASE WHEN u.failed THEN u.failures + 1 ELSE u.failures END AS failures`);
    const terminated = counted.filter((row) => row.terminated).map(({ id }) => id);
    // The scheduling worker cancels the jobs that are still requested, and removes the schedule.
    await tx.execute(sql`
      UPDATE /* endCounted */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
      WHERE workflow_id = ANY(${array(terminated, 'uuid')})`);
    const paused = counted.filter((row) => row.paused).map(({ id }) => id);
    if (paused.length > 0)
      await tx.execute(sql`
      UPDATE /* endCounted */ schedules SET paused = true, paused_until = NULL, wake_at = now()
      WHERE workflow_id = ANY(${array(paused, 'uuid')})`);
    const minimums = new Map(policies.map((row) => [row.id, row.min_seconds]));
    const short = jobs.flatMap((job) => shortEvent(job, minimums.get(job.workflow_id) ?? 0));
    const notified = await notify(tx, [...jobs.flatMap(jobEvent), ...short, ...counted.flatMap(workflowEvent)]);
    await alert(tx, { jobs, counted, resolved });
    const workflows = counted.map((row) => ({ userId: row.user_id, workflows: [row.id] }));
    const effects = mergeEffects(
      jobEffects(jobs),
      failureEffects(jobs),
      await cancelBuilds(tx, terminated), // builds of a newer generation
      { ...noEffects, changed: workflows, wakeScheduler: terminated.length > 0 },
      notificationEffects(notified),
      retried.effects,
    );
    return {
      ended: new Set([...finished, ...retried.ids]),
      awaited: jobs.filter((job) => job.awaited).map((job) => job.workflow_id),
      effects,
    };
  });
}

function isSystem(outcome: Outcome): boolean {
  return outcome.failureReason === 'SYSTEM';
}

function jobEvent({ id: jobId, workflow_id: workflowId, status, failure_message: detail }: ChangedJob): Event[] {
  if (status === 'CANCELED') return [];
  return [
    { kind: status === 'FAILED' ? 'JOB_FAILED' : 'JOB_COMPLETED', workflowId, jobId, detail: detail ?? undefined },
  ];
}

function shortEvent(
  { id: jobId, workflow_id: workflowId, status, seconds }: ChangedJob & { seconds: number },
  minSeconds: number,
): Event[] {
  if (status !== 'COMPLETED' || seconds >= minSeconds) return [];
  const detail = `It completed after ${Math.floor(seconds)} s, and at least ${minSeconds} s are expected.`;
  return [{ kind: 'JOB_SHORT', workflowId, jobId, detail }];
}

/**
 * Opens, counts and ends the incidents of these ends, and records their alerts. The locks of the
 * workflows are held.
 */
async function alert(
  tx: Pick<Db, 'execute'>,
  { jobs, counted, resolved }: { jobs: ChangedJob[]; counted: CountedWorkflow[]; resolved: Resolved[] },
): Promise<void> {
  const jobOf = new Map(jobs.map((job) => [job.workflow_id, job]));
  const failures = counted.flatMap((row) => {
    const job = jobOf.get(row.id);
    if (!row.failed || job === undefined) return [];
    return {
      workflowId: row.id,
      userId: row.user_id,
      jobId: job.id,
      failures: row.failures,
      isIncident: row.is_incident,
      isMuted: row.muted,
      isTerminated: row.terminated,
    };
  });
  const incidents = new Map((await countInIncidents(tx, failures)).map((one) => [one.workflowId, one]));
  const because = (workflowId: string) => {
    const job = jobOf.get(workflowId);
    return { jobId: job?.id, detail: job?.failure_message ?? undefined };
  };
  const began = [...incidents.values()].flatMap(({ workflowId, incidentId, isNew }): Alerting[] =>
    isNew ? [{ event: 'WORKFLOW_FAILING', workflowId, incidentId, ...because(workflowId) }] : [],
  );
  const recovered = resolved.map(({ workflowId, incidentId, isAlerted: endsAlerted }): Alerting => {
    const { jobId } = because(workflowId);
    return { event: 'WORKFLOW_RECOVERED', workflowId, incidentId, endsAlerted, jobId };
  });
  const terminated = counted
    .filter((row) => row.terminated)
    .map(({ id: workflowId }): Alerting => {
      const { incidentId, isAlerted: endsAlerted = false } = incidents.get(workflowId) ?? {};
      return { event: 'WORKFLOW_TERMINATED', workflowId, incidentId, endsAlerted, ...because(workflowId) };
    });
  // In two statements where an incident begins and ends at once: the end asks who heard of the
  // beginning.
  await recordAlerts(tx, [...jobs.flatMap(jobAlert), ...began]);
  await recordAlerts(tx, [...recovered, ...terminated]);
}

function jobAlert({ id: jobId, workflow_id: workflowId, status, failure_message: detail }: ChangedJob): Alerting[] {
  if (status === 'CANCELED') return [];
  const event = status === 'FAILED' ? 'JOB_FAILED' : 'JOB_COMPLETED';
  return [{ event, workflowId, jobId, detail: detail ?? undefined }];
}

function workflowEvent({ id: workflowId, failures, terminated, paused, recovered }: CountedWorkflow): Event[] {
  if (!terminated && !paused && !recovered) return [];
  const kind = terminated ? 'WORKFLOW_TERMINATED' : paused ? 'WORKFLOW_PAUSED' : 'WORKFLOW_RECOVERED';
  return [{ kind, workflowId, detail: String(failures) }];
}

/**
 * RUNNING -> PENDING, for failures that the run policies of their workflows retry: the job goes on
 * with another attempt. Nothing is counted and nobody is notified. The caller holds the locks of
 * the workflows and of their schedules, so a termination comes before or after.
 */
async function retryJobs(
  tx: Pick<Db, 'execute'>,
  outcomes: Outcome[],
  policies: Map<string, RetryPolicy | null>,
): Promise<{ ids: Set<string>; effects: Effects }> {
  const retrying = outcomes.flatMap((outcome) => {
    const policy = policies.get(outcome.workflowId);
    const { status, failureReason, isFinal } = outcome;
    return policy && !isFinal && status === 'FAILED' && failureReason && policy.on.includes(failureReason)
      ? [{ ...outcome, policy }]
      : [];
  });
  if (retrying.length === 0) return { ids: new Set(), effects: noEffects };
  // Some are retried here and the caller ends the others. Renewals of their leases lock all of them
  // in the order of their ids, so this does too.
  const lock = (jobs: SQL, ids: string[]) =>
    tx.execute(sql`
    SELECT /* retryJobs */ FROM ${jobs} WHERE id = ANY(${array(ids, 'uuid')}) ORDER BY id FOR NO KEY UPDATE`);
  await eachDayOf(tx, outcomes.map(idOf), lock);
  const retry = (jobs: SQL, ofDay: typeof retrying) => {
    const { rows, texts } = toRows(ofDay);
    const policyOf = new Map(ofDay.map(({ id, policy }) => [id, policy]));
    const withPolicies = rows.map((row) => ({ ...row, ...policyOf.get(row.id) }));
    return tx.execute<Pick<ChangedJob, 'id' | 'workflow_id' | 'user_id' | 'log_open'> & { retry_at: string }>(sql`
    WITH /* retryJobs */ ended AS (
      UPDATE ${jobs} SET status = 'PENDING', updated_at = now(), retries = retries + 1, retry_at = now() + make_interval(secs =>
          least(least(u.delay_seconds * u.factor ^ retries, u.max_delay_seconds) * (0.9 + random() * 0.2), u.max_delay_seconds)),
        started_at = NULL, lost_attempt = NULL,
        failure_message = u.failure_message, log_line_count = u.log_line_count, ${endColumns('jobs', { ends: sql`false` })}
      FROM ${rowSet('u', withPolicies, RETRY_COLUMNS)}
      WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token AND retries < u.max_retries AND cancel_requested_at IS NULL
      RETURNING ${ENDED_COLUMNS}, retry_at
    ), stored AS (${storeLastLines(texts)})
    SELECT id, workflow_id, user_id, status, log_open, retry_at FROM ended`);
  };
  const jobs = await eachDay(tx, retrying, idOf, retry);
  const due = jobs
    .map(({ workflow_id: workflowId, retry_at: retryAt }) => ({ workflowId, retryAt }))
    .toSorted((a, b) => (a.workflowId < b.workflowId ? -1 : 1));
  await tx.execute(sql`
    UPDATE /* retryJobs */ schedules SET wake_at = least(wake_at, u.retry_at, now() + ${seconds(RECHECK_SECONDS)})
    FROM ${rowSet('u', due, { workflowId: 'uuid', retryAt: 'timestamptz' })} WHERE schedules.workflow_id = ANY(ARRAY[u.workflow_id])`);
  const users = new Map(jobs.map((job) => [job.id, job.user_id]));
  const failed = retrying.flatMap(
    ({ id: jobId, workflowId, failureReason: reason = '', failureMessage: message = '' }) => {
      const userId = users.get(jobId);
      return userId === undefined ? [] : [{ jobId, workflowId, userId, reason, message, isRetried: true }];
    },
  );
  return {
    ids: new Set(users.keys()),
    effects: { ...jobEffects(jobs), failed, wakeScheduler: jobs.length > 0 },
  };
}

const RETRY_COLUMNS = {
  id: 'uuid',
  leaseToken: 'uuid',
  failureMessage: 'text',
  logLineCount: 'integer',
  firstNumber: 'integer',
  text: 'integer',
  maxRetries: 'integer',
  delaySeconds: 'double precision',
  factor: 'double precision',
  maxDelaySeconds: 'double precision',
} as const;

/**
 * The lease token implies that the job is RUNNING under this lease (a CHECK ties the two). The
 * statement has no condition on `jobs` alone: with stale statistics the planner would expect few
 * rows, read all jobs and compare each with each. Rows are locked in the order of their ids, as
 * renewals lock them.
 */
function finishLeased(jobs: SQL, rows: Row[]) {
  return sql`
    UPDATE ${jobs} SET status = u.status, updated_at = now(),
      exit_code = u.exit_code, failure_reason = u.failure_reason,
      failure_message = coalesce(u.failure_message || CASE retries WHEN 0 THEN '' WHEN 1 THEN ' It was retried once.' ELSE ' It was retried ' || retries || ' times.' END,
        CASE WHEN u.status = 'CANCELED' THEN jobs.failure_message END),
      log_line_count = u.log_line_count, ${endColumns('jobs')}
    FROM ${rowSet('u', rows, OUTCOME_COLUMNS)}
    WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token`;
}

const idOf = ({ id }: Outcome) => id;

type Row = Omit<Outcome, 'workflowId' | 'isFinal' | 'lastLines'> & {
  firstNumber: number | undefined;
  text: number | undefined;
};

/**
 * The outcomes in the order of their ids, and their last lines: jobs with the same ones share them.
 */
function toRows(outcomes: Outcome[]): { rows: Row[]; texts: Buffer[] } {
  const places = new Map<Buffer, number>();
  const placeOf = (lines: Buffer) => {
    const place = places.get(lines) ?? places.size + 1;
    places.set(lines, place);
    return place;
  };
  const rows = sortedById(outcomes).map(
    (outcome): Row => ({
      id: outcome.id,
      leaseToken: outcome.leaseToken,
      status: outcome.status,
      exitCode: outcome.exitCode,
      failureReason: outcome.failureReason,
      failureMessage: outcome.failureMessage,
      logLineCount: outcome.logLineCount,
      firstNumber: outcome.lastLines?.firstNumber,
      text: outcome.lastLines && placeOf(outcome.lastLines.lines),
    }),
  );
  return { rows, texts: [...places.keys()] };
}

/** For storeLastLines and COUNT_ENDED too. */
const ENDED_COLUMNS = sql`${CHANGED_COLUMNS}, jobs.attempt, jobs.awaited, u.first_number, u.text`;

const OUTCOME_COLUMNS = {
  id: 'uuid',
  leaseToken: 'uuid',
  status: 'text',
  exitCode: 'integer',
  failureReason: 'text',
  failureMessage: 'text',
  logLineCount: 'integer',
  firstNumber: 'integer',
  text: 'integer',
} as const;
