import { sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';

/**
 * The rules for every committed state, whatever happened before. Each is a query for rows that
 * break it.
 */
const BROKEN = {
  'two active jobs of one workflow': sql`
    SELECT workflow_id FROM jobs j WHERE completed_at IS NULL AND NOT EXISTS (SELECT FROM run_requests WHERE job_id = j.id)
    GROUP BY workflow_id HAVING count(*) > 1`,
  'an unended job that nobody would ever look at': sql`
    SELECT id FROM jobs j WHERE completed_at IS NULL
      AND NOT EXISTS (SELECT FROM schedules WHERE workflow_id = j.workflow_id AND last_job_id = j.id AND wake_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM run_requests r JOIN schedules s USING (workflow_id)
        WHERE job_id = j.id AND (s.wake_at IS NOT NULL OR s.state = 'BLOCKED'))`,
  'a request of a job that is not PENDING': sql`
    SELECT job_id FROM run_requests r WHERE NOT EXISTS (SELECT FROM jobs WHERE id = r.job_id AND status = 'PENDING')`,
  'a RUNNING job without a lease': sql`
    SELECT id FROM jobs WHERE status = 'RUNNING' AND (lease_token IS NULL OR lease_expires_at IS NULL OR lease_owner IS NULL)`,
  'a slot that was run twice': sql`
    SELECT workflow_id FROM jobs WHERE trigger = 'AUTOMATIC' GROUP BY workflow_id, scheduled_at HAVING count(*) > 1`,
  'more attempts than there may be': sql`
    SELECT id FROM jobs WHERE attempt - uncounted_attempts - retries > 3 OR uncounted_attempts > attempt OR uncounted_attempts < 0`,
  'a schedule whose state is not its workflow’s': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id
    WHERE (s.state = 'TERMINATED') <> (w.terminated_at IS NOT NULL) OR s.state = 'BLOCKED' AND w.build_status = 'COMPLETED'`,
  'a workflow that runs another payload than its newest one': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id
    WHERE s.state = 'READY' AND (w.build_status = 'COMPLETED' OR w.kind = 'HEARTBEAT') AND s.generation <> w.generation
      OR s.state = 'READY' AND NOT EXISTS (
        SELECT FROM payloads runs JOIN payloads newest USING (workflow_id, payload)
        WHERE workflow_id = w.id AND runs.generation = s.generation AND newest.generation = w.generation)`,
  'a living workflow that could run and has no schedule': sql`
    SELECT id FROM workflows w WHERE terminated_at IS NULL AND build_status = 'COMPLETED'
      AND NOT EXISTS (SELECT FROM schedules s WHERE s.workflow_id = w.id AND (s.wake_at IS NOT NULL OR s.paused))`,
  'a schedule of another interval than its workflow’s, or with a calendar that it has not': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id
    WHERE s.interval_minutes IS DISTINCT FROM w.interval_minutes
      OR (s.calendar_id IS NOT NULL) <> coalesce(w.schedule ? 'cron', false)`,
  'a schedule of another overlap policy than its workflow’s': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id
    WHERE s.overlap <> coalesce(w.run_policy->>'overlap', 'QUEUE')`,
  'a schedule that has come to its end by mistake': sql`
    SELECT workflow_id FROM schedules WHERE state = 'READY' AND next_run_at IS NULL
      AND (interval_minutes IS NOT NULL OR calendar_id IS NOT NULL AND (ends_at > now()) IS NOT FALSE)`,
  'a READY schedule whose next slot nobody will look at': sql`
    SELECT workflow_id FROM schedules WHERE state = 'READY' AND wake_at IS NULL
      AND (NOT paused AND next_run_at IS NOT NULL OR paused AND paused_until IS NOT NULL)`,
  'a schedule that is paused for longer than its workflow, or less long': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id
      CROSS JOIN (SELECT clock_timestamp() AS clock OFFSET 0) read -- now() is older than the snapshot: a pause may end in between
    WHERE w.terminated_at IS NULL
      AND ((s.paused AND s.paused_until IS NULL) <> (w.paused_at IS NOT NULL AND w.paused_until IS NULL)
        OR greatest(s.paused_until, clock) IS DISTINCT FROM greatest(w.paused_until, clock))`,
  'an unended build that is not of the newest generation, or of a terminated workflow': sql`
    SELECT b.id FROM builds b JOIN workflows w ON w.id = b.workflow_id
    WHERE completed_at IS NULL AND (w.generation <> b.generation OR w.terminated_at IS NOT NULL)`,
  'a build status that is not the newest build’s': sql`
    SELECT w.id FROM workflows w JOIN builds b ON b.workflow_id = w.id AND b.generation = w.generation
    WHERE w.build_status <> b.status`,
  'a generation without its payload or its build': sql`
    SELECT w.id FROM workflows w WHERE NOT EXISTS (SELECT FROM payloads p WHERE p.workflow_id = w.id AND p.generation = w.generation)
      OR kind = 'CONTAINER' AND purge_requested_at IS NULL
        AND NOT EXISTS (SELECT FROM builds b WHERE b.workflow_id = w.id AND b.generation = w.generation)`,
  'failures that a schedule or an active job does not know of': sql`
    SELECT w.id FROM workflows w JOIN schedules s ON s.workflow_id = w.id LEFT JOIN jobs j ON j.id = s.last_job_id AND j.completed_at IS NULL
    WHERE w.consecutive_job_failures_count > 0 AND (NOT s.failing OR NOT j.after_failure)`,
  'a termination for failures that were not as many, or none for as many': sql`
    SELECT id FROM workflows WHERE termination_reason = 'FAILURES'
      AND consecutive_job_failures_count < max_consecutive_job_failures_allowed`,
  'a failure count that is not what the jobs say': sql`
    SELECT w.id FROM workflows w WHERE (terminated_at IS NULL OR termination_reason = 'FAILURES') AND purge_requested_at IS NULL
      AND NOT consecutive_job_failures_count <@ (
        SELECT int4range(CASE on_too_many_failures WHEN 'PAUSE' THEN 0 ELSE count(*)::integer END, count(*)::integer, '[]') -- resuming begins anew
        FROM jobs f WHERE f.workflow_id = w.id AND f.status = 'FAILED' AND f.failure_reason <> 'SYSTEM'
          AND f.completed_at <= coalesce(w.terminated_at, f.completed_at)
          AND f.completed_at > coalesce((SELECT max(c.completed_at) FROM jobs c WHERE c.workflow_id = w.id AND c.status = 'COMPLETED'
            AND c.completed_at <= coalesce(w.terminated_at, c.completed_at)), '-infinity'))`,
  'failures that make an incident, and none is open': sql`
    SELECT id FROM workflows w WHERE terminated_at IS NULL AND consecutive_job_failures_count >= alert_after_failures
      AND NOT EXISTS (SELECT FROM incidents WHERE workflow_id = w.id AND resolved_at IS NULL)`,
  'an open incident of a terminated workflow, or one with fewer failures than there were': sql`
    SELECT i.id FROM incidents i JOIN workflows w ON w.id = i.workflow_id
    WHERE resolved_at IS NULL AND (terminated_at IS NOT NULL OR failures < consecutive_job_failures_count)`,
  'an open incident that a schedule or an active job does not know of': sql`
    SELECT i.id FROM incidents i JOIN schedules s USING (workflow_id) LEFT JOIN jobs j ON j.id = s.last_job_id AND j.completed_at IS NULL
    WHERE i.resolved_at IS NULL AND (NOT s.failing OR NOT j.after_failure)`,
  'an incident that its channel does not hear of exactly once, at its beginning and at its end': sql`
    SELECT i.id FROM incidents i JOIN alert_channels c USING (user_id)
    WHERE (SELECT count(*) FROM alert_deliveries d WHERE d.channel_id = c.id AND d.incident_id = i.id AND event = 'WORKFLOW_FAILING') <> 1
      OR (SELECT count(*) FROM alert_deliveries d WHERE d.channel_id = c.id AND d.incident_id = i.id
        AND event = CASE resolution WHEN 'RECOVERED' THEN 'WORKFLOW_RECOVERED' ELSE 'WORKFLOW_TERMINATED' END) <> (resolved_at IS NOT NULL)::integer`,
  'an ended job that its channel does not hear of exactly once': sql`
    SELECT j.id FROM jobs j JOIN alert_channels c USING (user_id) WHERE status IN ('COMPLETED', 'FAILED')
      AND (SELECT count(*) FROM alert_deliveries d WHERE d.channel_id = c.id AND d.job_id = j.id AND event = 'JOB_' || j.status) <> 1`,
  'a delivery that waits and is not queued, or is queued and does not wait': sql`
    SELECT coalesce(d.id, due.delivery_id) AS id FROM alert_deliveries d FULL JOIN alert_due due ON due.delivery_id = d.id
    WHERE (due.delivery_id IS NOT NULL) <> (coalesce(d.status, '') = 'PENDING')`,
};

const ALL = sql.join(
  Object.entries(BROKEN).map(([name, query]) => sql`SELECT ${name} AS name, rows::text AS row FROM (${query}) rows`),
  sql` UNION ALL `,
);

/**
 * The broken invariants, each with a row that breaks it. One statement, so that all of it uses one
 * snapshot.
 */
export async function broken(db: Db): Promise<{ name: string; row: string }[]> {
  return [...(await db.execute<{ name: string; row: string }>(ALL))];
}
