-- db/jobs/leases.ts

-- jobStates

SELECT /* jobStates */ id, status, attempt, lease_expires_at < now() AS expired,
  lease_owner AS owner, engine_id
FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]);

-- queueReturned

UPDATE /* queueReturned */ jobs_20261129 AS jobs SET status = 'QUEUED', queued_at = now(),
  updated_at = now()
WHERE id = $1 AND status = 'PENDING' RETURNING id;

-- releaseJobs

UPDATE /* releaseJobs */ jobs_20261129 AS jobs SET lease_expires_at = now() - interval '1 millisecond' FROM unnest($1::uuid[], $2::uuid[]) AS u (id, lease_token)
WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token;

-- renewLeases

UPDATE /* renewLeases */ jobs_20261129 AS jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => $1)
FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token RETURNING jobs.id,
  cancel_requested_at IS NOT NULL AS cancel;

-- returnJobs

WITH /* returnJobs */ changed AS (
    UPDATE jobs_20261129 AS jobs SET status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELED' ELSE 'PENDING' END, updated_at = now(),
      uncounted_attempts = uncounted_attempts + $1::integer, started_at = NULL, retry_at = NULL,
      lost_attempt = CASE WHEN NOT $2::boolean THEN lost_attempt END,
      completed_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
        lease_token = CASE WHEN false THEN jobs.lease_token END,
        lease_owner = CASE WHEN false THEN jobs.lease_owner END,
        lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = cancel_requested_at IS NOT NULL AND ($3 OR attempt > 1),
      -- the lines before an attempt that printed nothing are the lines before the next one
      log_attempt = CASE WHEN cancel_requested_at IS NULL AND NOT $4
        AND log_attempt >= attempt + adoptions
        THEN attempt + adoptions + 1 ELSE log_attempt END
    FROM unnest($5::uuid[], $6::uuid[]) AS u (id, lease_token)
  WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token RETURNING jobs.id,
    jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
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

WITH /* returnJobs */ locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules WHERE workflow_id = ANY($1::uuid[])
  ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]);
