-- db/jobs/claim.ts

-- claimJobs

UPDATE /* claimJobs */ jobs_20261129 AS jobs SET status = 'RUNNING', attempt = attempt + 1,
  started_at = now(), updated_at = now(),
  lease_token = $1, lease_owner = $2,
    lease_expires_at = clock_timestamp() + make_interval(secs => $3),
  engine_id = $4
FROM (SELECT id, 'QUEUED' AS status FROM unnest($5::uuid[]) AS asked (id) OFFSET 0) u
WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.status = u.status
RETURNING jobs.id, workflow_id, user_id, generation, attempt, attempt + adoptions AS epoch,
  uncounted_attempts, retries,
  CASE WHEN log_attempt >= attempt + adoptions THEN log_line_count END AS lines_before, started_at,
  cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt, failure_message;

-- takeOverJobs

WITH /* takeOverJobs */ orphan AS MATERIALIZED (
  SELECT u.id FROM unnest($1::uuid[], $2::integer[]) AS u (id, attempt), LATERAL (
    SELECT FROM jobs_20261129 AS jobs WHERE jobs.id = u.id AND jobs.attempt = u.attempt
      AND status = 'RUNNING'
      AND engine_id = $3 AND (lease_expires_at < now() OR lease_owner = ANY($4::text[]))
    LIMIT 1 FOR UPDATE SKIP LOCKED) orphan
)
UPDATE jobs_20261129 AS jobs SET adoptions = adoptions + 1, updated_at = now(),
  lease_token = $5, lease_owner = $6,
    lease_expires_at = clock_timestamp() + make_interval(secs => $7)
FROM orphan WHERE jobs.id = ANY(ARRAY[orphan.id])
RETURNING jobs.id, workflow_id, user_id, generation, attempt, attempt + adoptions AS epoch,
  uncounted_attempts, retries,
  CASE WHEN log_attempt >= attempt + adoptions THEN log_line_count END AS lines_before, started_at,
  cancel_requested_at IS NOT NULL AS cancel_requested, engine_id, lost_attempt, failure_message;
