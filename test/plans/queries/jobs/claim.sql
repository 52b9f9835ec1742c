-- db/jobs/claim.ts

-- claimJobs

UPDATE /* claimJobs */ jobs SET status = 'RUNNING', attempt = attempt + 1, started_at = now(),
  updated_at = now(),
  lease_token = $1, lease_owner = $2,
    lease_expires_at = clock_timestamp() + make_interval(secs => $3),
  engine_id = $4
FROM unnest($5::uuid[]) AS u (id) WHERE jobs.id = u.id AND status = 'QUEUED'
RETURNING jobs.id, workflow_id, user_id, generation, attempt, uncounted_attempts,
  CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines_before, started_at,
  cancel_requested_at IS NOT NULL AS cancel_requested, engine_id;

-- jobStates

SELECT /* jobStates */ id, status, attempt, lease_expires_at < now() AS expired,
  lease_owner AS owner, engine_id
FROM jobs WHERE id = ANY($1::uuid[]);

-- releaseJobs

UPDATE /* releaseJobs */ jobs SET lease_expires_at = now() - interval '1 millisecond' FROM unnest($1::uuid[], $2::uuid[]) AS u (id, lease_token)
WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token;

-- renewLeases

UPDATE /* renewLeases */ jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => $1)
FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token RETURNING jobs.id,
  cancel_requested_at IS NOT NULL AS cancel;

-- returnJobs

UPDATE /* returnJobs */ jobs SET status = CASE WHEN cancel_requested_at IS NULL THEN 'PENDING' ELSE 'CANCELED' END,
    completed_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END,
    uncounted_attempts = uncounted_attempts + $1::integer, updated_at = now(), started_at = NULL,
    queued_at = NULL, lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
    log_open = cancel_requested_at IS NOT NULL AND ($2 OR attempt > 1),
    -- what is settled for an attempt that printed nothing is settled for the next one
    log_attempt = CASE WHEN cancel_requested_at IS NULL AND NOT $3 AND log_attempt >= attempt
      THEN attempt + 1 ELSE log_attempt END
  FROM unnest($4::uuid[], $5::uuid[]) AS u (id, lease_token)
WHERE jobs.id = u.id AND jobs.lease_token = u.lease_token RETURNING jobs.id, workflow_id, status;

WITH /* returnJobs */ locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules WHERE workflow_id = ANY($1::uuid[])
  ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = locked.workflow_id;

-- takeOverJobs

WITH /* takeOverJobs */ orphan AS MATERIALIZED (
  SELECT u.id FROM unnest($1::uuid[], $2::integer[]) AS u (id, attempt), LATERAL (
    SELECT FROM jobs WHERE jobs.id = u.id AND jobs.attempt = u.attempt AND status = 'RUNNING'
      AND engine_id = $3 AND (lease_expires_at < now() OR lease_owner = ANY($4::text[]))
    LIMIT 1 FOR UPDATE SKIP LOCKED) orphan
)
UPDATE jobs SET updated_at = now(),
  lease_token = $5, lease_owner = $6,
    lease_expires_at = clock_timestamp() + make_interval(secs => $7)
FROM orphan WHERE jobs.id = orphan.id
RETURNING jobs.id, workflow_id, user_id, generation, attempt, uncounted_attempts,
  CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines_before, started_at,
  cancel_requested_at IS NOT NULL AS cancel_requested, engine_id;
