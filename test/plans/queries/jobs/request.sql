-- db/jobs/request.ts

-- runWorkflow

insert into "jobs" ("id", "workflow_id", "user_id", "kind", "trigger", "status", "generation",
  "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at",
  "queued_at", "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at",
  "engine_id", "cancel_requested_at", "exit_code", "failure_reason", "failure_message",
  "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt",
  "after_failure", "awaited", "retries", "retry_at")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, $5, $6, default,
  default, default, now(), default, default, default, default, default, default, default, default,
  default, default, default, default, default, default, default, default, $7, $8, default, default,
  default, default, default)
returning "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at";

insert into "run_requests" ("job_id", "workflow_id", "user_id", "kind")
values ($1, $2, $3, $4);

select "workflow_id", "user_id", "kind", "state", "generation", "interval_minutes", "calendar_id",
  "starts_at", "ends_at", "delay_seconds", "overlap", "late_seconds", "paused", "paused_until",
  "skipped_run_count", "skip_notified_at", "late_after_seconds", "expected_max_seconds",
  "watches_ends", "late_slot_at", "long_job_id", "replacing_slot_at", "last_slot_at",
  "next_run_at", "wake_at", "waiting", "requested", "failing", "last_job_id"
from "schedules"
where ("schedules"."workflow_id" = $1 and "schedules"."user_id" = $2) for update;

select count(*) as count
from "pings"
where "pings"."workflow_id" = $1;;

select count(*) as count
from "run_requests"
where "run_requests"."workflow_id" = $1;;

update "schedules"
set "wake_at" = now(), "requested" = $1
where "schedules"."workflow_id" = $2;
