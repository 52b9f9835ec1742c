-- db/jobs/redispatch.ts

-- redispatchQueued

SELECT /* redispatchQueued */ near.workflow_id
  FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS near (workflow_id, wake_at,
    last_job_id), LATERAL (
    SELECT FROM jobs_20261129 AS jobs WHERE id = near.last_job_id AND status = 'QUEUED'
      AND greatest(
near.wake_at - CASE kind WHEN 'CONTAINER' THEN make_interval(secs => $4) ELSE make_interval(secs => $5) END,
least(updated_at + (near.wake_at - updated_at) / 2,
  near.wake_at - make_interval(secs => $6))) < now() - make_interval(secs => $7) LIMIT 1) job;

SELECT /* redispatchQueued */ workflow_id AS "workflowId", wake_at::text AS "wakeAt",
  last_job_id AS "lastJobId" FROM schedules
WHERE wake_at > now() AND wake_at <= now() + make_interval(secs => $1)
ORDER BY wake_at, workflow_id LIMIT $2;

SELECT /* redispatchQueued */ workflow_id AS "workflowId", wake_at::text AS "wakeAt",
  last_job_id AS "lastJobId" FROM schedules
WHERE wake_at >= $1 AND (wake_at, workflow_id) > ($2, $3)
  AND wake_at <= now() + make_interval(secs => $4)
ORDER BY wake_at, workflow_id LIMIT $5;

-- wake

WITH /* wake */ free AS MATERIALIZED (
  SELECT workflow_id FROM schedules WHERE workflow_id = ANY($1::uuid[]) AND (wake_at > now()) IS TRUE -- so, by the key alone
  ORDER BY workflow_id FOR UPDATE SKIP LOCKED
)
UPDATE schedules SET wake_at = now() FROM free WHERE schedules.workflow_id = ANY(ARRAY[free.workflow_id]) RETURNING 1;
