-- db/jobs/requests.ts

-- cancelRequests

WITH /* cancelRequests */ gone AS (
  DELETE FROM run_requests WHERE workflow_id = ANY($1::uuid[]) RETURNING job_id
), locked AS MATERIALIZED (
  SELECT id FROM jobs WHERE id = ANY(ARRAY(SELECT job_id FROM gone))
    AND status = 'PENDING' ORDER BY id FOR UPDATE
)
UPDATE jobs SET status = 'CANCELED', completed_at = now(), updated_at = now()
FROM locked WHERE jobs.id = locked.id RETURNING jobs.id, user_id;
