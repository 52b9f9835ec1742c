-- db/lookup.ts

-- anyBuilds

select "id", "workflow_id", "user_id", "generation", "status", "attempt", "uncounted_attempts",
  "lease_token", "lease_owner", "lease_expires_at", "error", "image_id", "image_digest",
  "log_line_count", "log_attempt", "log_open", "created_at", "started_at", "completed_at",
  "engine_id", "retry_at", "waits", "waits_for", "awaits_engine"
from "builds"
where ("builds"."id" = ANY($1::uuid[])
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "builds"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL)) /* anyBuilds */;

-- anyJobs

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from (SELECT * FROM jobs_20261129 AS jobs) "jobs"
where ("jobs"."id" = ANY($1::uuid[])
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "jobs"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL)) /* anyJobs */;

-- anyWorkflows

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = ANY($1::uuid[])
  and "workflows"."purge_requested_at" is null) /* anyWorkflows */;

-- buildsOf

select "id", "workflow_id", "user_id", "generation", "status", "attempt", "uncounted_attempts",
  "lease_token", "lease_owner", "lease_expires_at", "error", "image_id", "image_digest",
  "log_line_count", "log_attempt", "log_open", "created_at", "started_at", "completed_at",
  "engine_id", "retry_at", "waits", "waits_for", "awaits_engine"
from "builds"
where ("builds"."id" = ANY($1::uuid[]) and "builds"."user_id" = $2
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "builds"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL)) /* buildsOf */;

-- databaseNow

SELECT /* databaseNow */ now() AS now;

-- firstLineNumbers

select "first"."source_id", "first"."first_number"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "source_id", "first_number"
from "log_chunks"
where "log_chunks"."source_id" = asked.id
order by "log_chunks"."first_number"
limit $2) "first" /* firstLineNumbers */;

-- jobsOf

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from (SELECT * FROM jobs_20261129 AS jobs) "jobs"
where ("jobs"."id" = ANY($1::uuid[]) and "jobs"."user_id" = $2
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "jobs"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL)) /* jobsOf */;

-- keptWorkflows

select "id"
from "workflows"
where ("workflows"."id" = ANY($1::uuid[])
  and "workflows"."purge_requested_at" is null) /* keptWorkflows */;

-- lastLineNumbers

select "last"."source_id", "last"."last_number"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "source_id", "last_number"
from "log_chunks"
where "log_chunks"."source_id" = asked.id
order by "log_chunks"."first_number" desc
limit $2) "last" /* lastLineNumbers */;

-- newestBuilds

select distinct on ("builds"."workflow_id") "id", "workflow_id", "user_id", "generation", "status",
  "attempt", "uncounted_attempts", "lease_token", "lease_owner", "lease_expires_at", "error",
  "image_id", "image_digest", "log_line_count", "log_attempt", "log_open", "created_at",
  "started_at", "completed_at", "engine_id", "retry_at", "waits", "waits_for", "awaits_engine"
from "builds"
where "builds"."workflow_id" = ANY($1::uuid[])
order by "builds"."workflow_id", "builds"."generation" desc /* newestBuilds */;

-- newestWorkflowsOf

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null)
order by "workflows"."id" desc
limit $2 /* newestWorkflowsOf */;

-- payloadsOf

select "workflow_id", "generation", "payload", "bytes"
from "payloads"
where ("payloads"."workflow_id", "payloads"."generation") IN (SELECT * FROM unnest($1::uuid[],
  $2::integer[]) AS asked (workflow_id, generation)) /* payloadsOf */;

-- schedulesOf

select "workflow_id", "state", "next_run_at", "delay_seconds", "late_seconds", "paused",
  "paused_until", "skipped_run_count"
from "schedules"
where "schedules"."workflow_id" = ANY($1::uuid[]) /* schedulesOf */;

-- workflowLabelsOf

select "id", "name", "kind"
from "workflows"
where ("workflows"."id" = ANY($1::uuid[]) and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) /* workflowLabelsOf */;

-- workflowsChangedSince

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."user_id" = ANY($1::uuid[]) and "workflows"."purge_requested_at" is null
  and ("workflows"."updated_at" > $2 or "workflows"."deleted_at" > $3))
order by "workflows"."updated_at" /* workflowsChangedSince */;

-- workflowsOf

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = ANY($1::uuid[]) and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) /* workflowsOf */;
