-- db/jobs/follow.ts

-- idsBehind

SELECT /* idsBehind */ asked.scope, page.id FROM unnest($1::uuid[], $2::uuid[]) AS asked (scope,
  after),
  LATERAL (SELECT * FROM ((SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope
  AND id > asked.after ORDER BY id ASC LIMIT $3) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $4) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $5) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $7) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $8) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $9) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $10) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $11) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $12) UNION ALL (SELECT id FROM jobs_other AS jobs WHERE "user_id" = asked.scope AND id > asked.after AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $13)) AS jobs ORDER BY id ASC LIMIT $14) AS page
ORDER BY page.id;

SELECT /* idsBehind */ asked.scope, page.id FROM unnest($1::uuid[], $2::uuid[]) AS asked (scope,
  after),
  LATERAL (SELECT * FROM ((SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $3) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $4) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $5) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $7) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $8) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $9) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $10) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $11) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after ORDER BY id ASC LIMIT $12) UNION ALL (SELECT id FROM jobs_other AS jobs WHERE "workflow_id" = asked.scope AND id > asked.after AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $13)) AS jobs ORDER BY id ASC LIMIT $14) AS page
ORDER BY page.id;

SELECT /* idsBehind */ asked.scope, page.id FROM unnest($1::uuid[], $2::uuid[]) AS asked (scope,
  after), LATERAL ((SELECT id FROM jobs_other AS jobs WHERE "user_id" = asked.scope
  AND id > asked.after AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3)) AS page
ORDER BY page.id;

SELECT /* idsBehind */ asked.scope, page.id FROM unnest($1::uuid[], $2::uuid[]) AS asked (scope,
  after), LATERAL ((SELECT id FROM jobs_other AS jobs WHERE "workflow_id" = asked.scope
  AND id > asked.after AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3)) AS page
ORDER BY page.id;

-- jobRows

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from (SELECT * FROM jobs_20261129 AS jobs) "jobs"
where "jobs"."id" = ANY($1::uuid[]) /* jobRows */;

-- jobsOfUserToFollow

SELECT /* jobsOfUserToFollow */ id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
  AND completed_at IS NULL LIMIT $2;

SELECT /* jobsOfUserToFollow */ job_id AS id FROM run_requests WHERE user_id = $1 LIMIT $2;

SELECT /* jobsOfUserToFollow */ schedule.last_job_id AS id
FROM workflows,
  LATERAL (SELECT last_job_id FROM schedules WHERE workflow_id = workflows.id LIMIT 1) schedule
WHERE workflows.user_id = $1 AND schedule.last_job_id IS NOT NULL;

-- jobsToFollow

SELECT /* jobsToFollow */ last_job_id AS id FROM schedules WHERE workflow_id = $1
  AND last_job_id IS NOT NULL
UNION ALL SELECT job_id FROM run_requests WHERE workflow_id = $2;

-- jobsToRecheck

SELECT /* jobsToRecheck */ last_job_id AS id FROM schedules
WHERE workflow_id = ANY($1::uuid[]) AND last_job_id IS NOT NULL;

-- newestIds

SELECT /* newestIds */ asked.id AS scope, page.id FROM unnest($1::uuid[]) AS asked (id),
  LATERAL ((SELECT id FROM jobs_other AS jobs WHERE "workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id DESC LIMIT $2)) AS page
ORDER BY page.id DESC;

SELECT /* newestIds */ asked.id AS scope, page.id FROM unnest($1::uuid[]) AS asked (id),
  LATERAL (SELECT * FROM ((SELECT id FROM jobs_other AS jobs WHERE "user_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $3) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "user_id" = asked.id ORDER BY id DESC LIMIT $12)) AS jobs ORDER BY id DESC LIMIT $13) AS page
ORDER BY page.id DESC;

SELECT /* newestIds */ asked.id AS scope, page.id FROM unnest($1::uuid[]) AS asked (id),
  LATERAL (SELECT * FROM ((SELECT id FROM jobs_other AS jobs WHERE "workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $3) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE "workflow_id" = asked.id ORDER BY id DESC LIMIT $12)) AS jobs ORDER BY id DESC LIMIT $13) AS page
ORDER BY page.id DESC;
