-- db/jobs/finish.ts

-- endCounted

SELECT /* endCounted */ FROM schedules WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id FOR UPDATE;

SELECT /* endCounted */ FROM workflows WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

UPDATE /* endCounted */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
WHERE workflow_id = ANY($1::uuid[]);

UPDATE /* endCounted */ workflows SET updated_at = now(),
  consecutive_job_failures_count = CASE WHEN u.failed THEN consecutive_job_failures_count + 1 ELSE 0 END,
  terminated_at = CASE WHEN u.failed
    AND consecutive_job_failures_count + 1 >= max_consecutive_job_failures_allowed THEN now() END,
  termination_reason = CASE WHEN u.failed
    AND consecutive_job_failures_count + 1 >= max_consecutive_job_failures_allowed THEN 'FAILURES' END
FROM (
  SELECT u.*, alive.failures FROM unnest($1::uuid[], $2::boolean[]) AS u (id, failed), LATERAL (
    SELECT consecutive_job_failures_count AS failures FROM workflows WHERE id = u.id
      AND terminated_at IS NULL LIMIT 1) alive
) u
WHERE workflows.id = u.id
RETURNING workflows.id, workflows.user_id, terminated_at IS NOT NULL AS terminated,
  NOT u.failed AND u.failures > 0 AS recovered,
  CASE WHEN u.failed THEN u.failures + 1 ELSE u.failures END AS failures;

WITH /* endCounted */ ended AS (
  UPDATE jobs SET status = u.status, updated_at = now(),
    exit_code = u.exit_code, failure_reason = u.failure_reason, failure_message = u.failure_message,
    log_line_count = u.log_line_count, completed_at = CASE WHEN true THEN now() END,
      lease_token = CASE WHEN false THEN jobs.lease_token END,
      lease_owner = CASE WHEN false THEN jobs.lease_owner END,
      lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = true AND false
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::integer[], $6::text[],
    $7::text[], $8::integer[]) AS u (id, workflow_id, lease_token, status, exit_code,
    failure_reason, failure_message, log_line_count)
  WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token RETURNING jobs.id, jobs.workflow_id,
    jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0)
    SELECT id, workflow_id, user_id, status, failure_reason, failure_message, log_open FROM ended;

-- endUncounted

WITH /* endUncounted */ ended AS (
  UPDATE jobs SET status = u.status, updated_at = now(),
    exit_code = u.exit_code, failure_reason = u.failure_reason, failure_message = u.failure_message,
    log_line_count = u.log_line_count, completed_at = CASE WHEN true THEN now() END,
      lease_token = CASE WHEN false THEN jobs.lease_token END,
      lease_owner = CASE WHEN false THEN jobs.lease_owner END,
      lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = true AND false
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::integer[], $6::text[],
    $7::text[], $8::integer[]) AS u (id, workflow_id, lease_token, status, exit_code,
    failure_reason, failure_message, log_line_count)
  WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token AND (u.status <> 'COMPLETED'
      OR (SELECT consecutive_job_failures_count FROM workflows WHERE id = u.workflow_id) IS NOT DISTINCT FROM 0)
    RETURNING jobs.id, jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at,
      jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open
  ), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0),
eager AS MATERIALIZED (
  SELECT id FROM users WHERE id IN (SELECT DISTINCT user_id FROM ended)
    AND notification_preference = 'ALL'
), notified AS (
  INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, ended.user_id, 'JOB_COMPLETED',
    workflows.id, workflows.name, ended.id
  FROM eager JOIN ended ON ended.user_id = eager.id JOIN workflows ON workflows.id = ended.workflow_id
  WHERE ended.status = 'COMPLETED'
  RETURNING id, user_id
)
  SELECT id, user_id, log_open FROM ended UNION ALL SELECT id, user_id, NULL FROM notified;
