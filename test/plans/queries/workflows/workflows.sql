-- db/workflows/workflows.ts

-- createWorkflow

insert into "builds" ("id", "workflow_id", "user_id", "generation", "status", "attempt",
  "uncounted_attempts", "lease_token", "lease_owner", "lease_expires_at", "error", "image_id",
  "image_digest", "log_line_count", "log_attempt", "log_open", "created_at", "started_at",
  "completed_at", "engine_id", "retry_at", "waits", "waits_for", "awaits_engine")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, default, default,
  default, default, default, default, default, default, default, default, default, default,
  default, default, default, default, default, default, default)
returning "id";

insert into "payloads" ("workflow_id", "generation", "payload")
values ($1, $2, $3);

insert into "schedules" ("workflow_id", "user_id", "kind", "state", "generation",
  "interval_minutes", "calendar_id", "starts_at", "ends_at", "delay_seconds", "overlap",
  "late_seconds", "paused", "paused_until", "skipped_run_count", "skip_notified_at",
  "late_after_seconds", "expected_max_seconds", "watches_ends", "late_slot_at", "long_job_id",
  "replacing_slot_at", "last_slot_at", "next_run_at", "wake_at", "waiting", "requested", "failing",
  "last_job_id")
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, default, default, default, default, $13,
  $14, $15, default, default, default, default, now(), now(), default, default, default, default);

insert into "workflows" ("id", "user_id", "name", "kind", "interval_minutes", "schedule",
  "run_policy", "max_consecutive_job_failures_allowed", "consecutive_job_failures_count",
  "on_too_many_failures", "paused_at", "paused_until", "pause_reason", "pause_note",
  "skipped_run_count", "generation", "build_status", "created_at", "updated_at", "terminated_at",
  "termination_reason", "deleted_at", "purge_requested_at", "log_retention_days",
  "logs_removed_to", "alert_after_failures", "has_own_alert_channels", "muted_until")
values ($1, $2, $3, $4, $5, $6, $7, $8, default, $9, default, default, default, default, default,
  default, $10, default, default, default, default, default, default, default, default, default,
  $11, default)
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

-- lockWorkflow

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

-- presentPayload

select "payload"
from "payloads"
where ("payloads"."workflow_id" = $1 and "payloads"."generation" = $2);

-- queueBuild

insert into "builds" ("id", "workflow_id", "user_id", "generation", "status", "attempt",
  "uncounted_attempts", "lease_token", "lease_owner", "lease_expires_at", "error", "image_id",
  "image_digest", "log_line_count", "log_attempt", "log_open", "created_at", "started_at",
  "completed_at", "engine_id", "retry_at", "waits", "waits_for", "awaits_engine")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, default, default,
  default, default, default, default, default, default, default, default, default, default,
  default, default, default, default, default, default, default)
returning "id";

-- updateWorkflow

insert into "builds" ("id", "workflow_id", "user_id", "generation", "status", "attempt",
  "uncounted_attempts", "lease_token", "lease_owner", "lease_expires_at", "error", "image_id",
  "image_digest", "log_line_count", "log_attempt", "log_open", "created_at", "started_at",
  "completed_at", "engine_id", "retry_at", "waits", "waits_for", "awaits_engine")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, default, default,
  default, default, default, default, default, default, default, default, default, default,
  default, default, default, default, default, default, default)
returning "id";

insert into "payloads" ("workflow_id", "generation", "payload")
values ($1, $2, $3);

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where ("workflows"."id" = $1 and "workflows"."user_id" = $2
  and "workflows"."purge_requested_at" is null) for no key update;

select "last_slot_at"
from "schedules"
where "schedules"."workflow_id" = $1 for update;

select "payload" = $1::jsonb, "payload" - 'order' = $2::jsonb - 'order'
from "payloads"
where ("payloads"."workflow_id" = $3 and "payloads"."generation" = $4);

select "workflow_id", "token_hash", "token", "start_grace_seconds", "run_grace_seconds",
  "post_only", "started_at", "start_rid", "ended_at", "given_up_at", "log", "log_line_count"
from "pings"
where "pings"."workflow_id" = $1 for update;

update "schedules"
set "delay_seconds" = $1, "overlap" = $2, "late_seconds" = $3, "late_after_seconds" = $4,
  "expected_max_seconds" = $5, "watches_ends" = $6, "late_slot_at" = "schedules"."last_slot_at"
where "schedules"."workflow_id" = $7;

update "schedules"
set "interval_minutes" = $1, "calendar_id" = $2, "starts_at" = $3, "ends_at" = $4,
  "next_run_at" = $5
where "schedules"."workflow_id" = $6;

update "schedules"
set "state" = $1, "wake_at" = now()
where "schedules"."workflow_id" = $2;

update "schedules"
set "wake_at" = now()
where "schedules"."workflow_id" = $1;

update "workflows"
set "generation" = $1, "updated_at" = now(), "alert_after_failures" = $2,
  "has_own_alert_channels" = $3
where "workflows"."id" = $4
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

update "workflows"
set "interval_minutes" = $1, "generation" = $2, "build_status" = $3, "updated_at" = now()
where "workflows"."id" = $4
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

update "workflows"
set "interval_minutes" = $1, "schedule" = $2, "run_policy" = $3, "generation" = $4,
  "updated_at" = now()
where "workflows"."id" = $5
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";
