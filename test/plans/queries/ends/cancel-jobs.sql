-- db/ends/cancel-jobs.ts

-- cancelJobs

WITH /* cancelJobs */ locked AS MATERIALIZED (
    SELECT id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
      AND completed_at IS NULL ORDER BY id FOR UPDATE
  ), changed AS (
    UPDATE jobs_20261129 AS jobs SET status = CASE WHEN jobs.status = 'RUNNING' THEN 'RUNNING' ELSE 'CANCELED' END, updated_at = now(),
      failure_message = CASE WHEN cancel_requested_at IS NULL THEN $2 ELSE jobs.failure_message END,
      cancel_requested_at = CASE WHEN jobs.status = 'RUNNING' THEN coalesce(cancel_requested_at,
        now()) END,
      completed_at = CASE WHEN jobs.status <> 'RUNNING' THEN now() END,
        lease_token = CASE WHEN jobs.status = 'RUNNING' THEN jobs.lease_token END,
        lease_owner = CASE WHEN jobs.status = 'RUNNING' THEN jobs.lease_owner END,
        lease_expires_at = CASE WHEN jobs.status = 'RUNNING' THEN jobs.lease_expires_at END,
    log_open = jobs.status <> 'RUNNING' AND attempt > 0
    FROM locked WHERE jobs.id = ANY(ARRAY[locked.id]) RETURNING jobs.id, jobs.workflow_id,
      jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open
  ),
  ended AS (
    SELECT * FROM changed WHERE status IN ('COMPLETED', 'FAILED', 'CANCELED')
  ), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0)
  SELECT * FROM changed;

-- removeRequests

DELETE /* removeRequests */ FROM run_requests WHERE workflow_id = ANY($1::uuid[]) RETURNING job_id AS id;
