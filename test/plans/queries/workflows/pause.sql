-- db/workflows/pause.ts

-- pauseWorkflow

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

update "schedules"
set "paused" = $1, "paused_until" = $2, "wake_at" = now()
where "schedules"."workflow_id" = $3;

update "workflows"
set "consecutive_job_failures_count" = $1, "paused_at" = now(), "paused_until" = $2,
  "pause_reason" = $3, "pause_note" = $4, "updated_at" = now()
where "workflows"."id" = $5
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

-- resumeWorkflow

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

update "schedules"
set "paused_until" = least("schedules"."paused_until", now()), "wake_at" = now()
where ("schedules"."workflow_id" = $1 and "schedules"."paused");

update "workflows"
set "paused_at" = $1, "paused_until" = $2, "pause_reason" = $3, "pause_note" = $4,
  "updated_at" = now()
where "workflows"."id" = $5
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";
