-- db/pings/end.ts

-- endByPing

insert into "jobs" ("id", "workflow_id", "user_id", "kind", "trigger", "status", "generation",
  "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at",
  "queued_at", "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at",
  "engine_id", "cancel_requested_at", "exit_code", "failure_reason", "failure_message",
  "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt",
  "after_failure", "awaited", "retries", "retry_at")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, $5, $6, $7, default,
  default, now(), default, default, default, least($8::timestamptz, now()), default,
  gen_random_uuid(), default, now() + make_interval(secs => $9), default, default, default,
  default, default, default, default, default, default, default, default, default, $10, default,
  default)
returning "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at";

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until"
from "workflows"
where "workflows"."id" = $1 for no key update;

select "workflow_id"
from "pings"
where "pings"."token_hash" = $1;

select "workflow_id", "token_hash", "token", "start_grace_seconds", "run_grace_seconds",
  "post_only", "started_at", "start_rid", "ended_at", "given_up_at", "log", "log_line_count"
from "pings"
where "pings"."token_hash" = $1 for update;

select "workflow_id", "user_id", "kind", "state", "generation", "interval_minutes", "calendar_id",
  "starts_at", "ends_at", "delay_seconds", "overlap", "late_seconds", "paused", "paused_until",
  "skipped_run_count", "skip_notified_at", "late_after_seconds", "expected_max_seconds",
  "watches_ends", "late_slot_at", "long_job_id", "replacing_slot_at", "last_slot_at",
  "next_run_at", "wake_at", "waiting", "requested", "failing", "last_job_id"
from "schedules"
where "schedules"."workflow_id" = $1 for update;

update "pings"
set "ended_at" = now(), "log" = '', "log_line_count" = $1
where "pings"."workflow_id" = $2;

update "schedules"
set "delay_seconds" = $1, "next_run_at" = $2, "wake_at" = now()
where "schedules"."workflow_id" = $3;

-- expectNext

update "schedules"
set "delay_seconds" = $1, "next_run_at" = $2, "wake_at" = now()
where "schedules"."workflow_id" = $3;
