-- db/workflows/terminate.ts

-- deleteWorkflow

delete
from "pings"
where "pings"."workflow_id" = $1;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

update "workflows"
set "deleted_at" = coalesce("workflows"."deleted_at", now())
where "workflows"."id" = $1
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

update "workflows"
set "deleted_at" = coalesce("workflows"."deleted_at", now()), "purge_requested_at" = now()
where "workflows"."id" = $1
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

update "workflows"
set "skipped_run_count" = $1, "updated_at" = now(), "terminated_at" = now(),
  "termination_reason" = $2
where "workflows"."id" = $3
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

-- terminate

UPDATE /* terminate */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
WHERE workflow_id = $1 RETURNING last_job_id, skipped_run_count;

-- terminateWorkflow

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

update "workflows"
set "skipped_run_count" = $1, "updated_at" = now(), "terminated_at" = now(),
  "termination_reason" = $2
where "workflows"."id" = $3
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

-- terminateWorkflowsOf

insert into "audit_events" ("id", "at", "action", "outcome", "code", "user_id", "actor_id",
  "token_id", "token_kind", "token_name", "address", "object_id", "changes", "count")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, default, $1, $2, default, $3, default,
  default, default, default, default, $4, default, default);

select "id"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."terminated_at" is null)
limit $2;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

update "workflows"
set "skipped_run_count" = $1, "updated_at" = now(), "terminated_at" = now(),
  "termination_reason" = $2
where "workflows"."id" = $3
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";
