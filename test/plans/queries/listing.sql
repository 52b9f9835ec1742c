-- db/listing.ts

-- listJobs

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "scheduled_at", "created_at", "updated_at", "queued_at", "started_at",
  "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with"
from "jobs"
where ("jobs"."user_id" = $1 and "jobs"."id" > $2 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
order by "jobs"."id" asc
limit $3 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "scheduled_at", "created_at", "updated_at", "queued_at", "started_at",
  "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with"
from "jobs"
where ("jobs"."user_id" = $1 and "jobs"."status" = ANY($2::text[]) and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
order by "jobs"."id" desc
limit $3 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "scheduled_at", "created_at", "updated_at", "queued_at", "started_at",
  "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with"
from "jobs"
where ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
order by "jobs"."id" desc
limit $2 /* listJobs */;

-- listJobsByWorkflow

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."scheduled_at", "page"."created_at", "page"."updated_at", "page"."queued_at",
  "page"."started_at", "page"."completed_at", "page"."lease_token", "page"."lease_owner",
  "page"."lease_expires_at", "page"."engine_id", "page"."cancel_requested_at", "page"."exit_code",
  "page"."failure_reason", "page"."failure_message", "page"."log_line_count", "page"."log_attempt",
  "page"."log_open", "page"."requested_by", "page"."requested_with"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral (select "id", "workflow_id", "user_id", "kind", "trigger", "status",
  "generation", "attempt", "uncounted_attempts", "scheduled_at", "created_at", "updated_at",
  "queued_at", "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at",
  "engine_id", "cancel_requested_at", "exit_code", "failure_reason", "failure_message",
  "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with"
from "jobs"
where "jobs"."workflow_id" = asked.id
order by "jobs"."id" desc
limit $2) "page" /* listJobsByWorkflow */;

-- listWorkflows

select "id", "user_id", "name", "kind", "interval_minutes", "max_consecutive_job_failures_allowed",
  "consecutive_job_failures_count", "generation", "build_status", "created_at", "updated_at",
  "terminated_at", "termination_reason", "deleted_at", "purge_requested_at", "log_retention_days",
  "logs_removed_to"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and "workflows"."id" > $2)
order by "workflows"."id" asc
limit $3 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "max_consecutive_job_failures_allowed",
  "consecutive_job_failures_count", "generation", "build_status", "created_at", "updated_at",
  "terminated_at", "termination_reason", "deleted_at", "purge_requested_at", "log_retention_days",
  "logs_removed_to"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and "workflows"."terminated_at" is null
  and "workflows"."kind" = $2 and strpos(lower("workflows"."name"), lower($3)) > 0)
order by "workflows"."id" desc
limit $4 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "max_consecutive_job_failures_allowed",
  "consecutive_job_failures_count", "generation", "build_status", "created_at", "updated_at",
  "terminated_at", "termination_reason", "deleted_at", "purge_requested_at", "log_retention_days",
  "logs_removed_to"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null)
order by "workflows"."id" desc
limit $2 /* listWorkflows */;
