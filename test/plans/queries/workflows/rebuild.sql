-- db/workflows/rebuild.ts

-- rebuildWorkflow

SELECT /* rebuildWorkflow */ FROM schedules WHERE workflow_id = $1 FOR UPDATE;

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

select "id", "workflow_id", "user_id", "generation", "status", "attempt", "uncounted_attempts",
  "lease_token", "lease_owner", "lease_expires_at", "error", "image_id", "image_digest",
  "log_line_count", "log_attempt", "log_open", "created_at", "started_at", "completed_at",
  "engine_id", "retry_at", "waits", "waits_for", "awaits_engine"
from "builds"
where ("builds"."workflow_id" = $1 and "builds"."generation" = $2);

select "payload"
from "payloads"
where ("payloads"."workflow_id" = $1 and "payloads"."generation" = $2);

update "workflows"
set "generation" = $1, "build_status" = $2, "updated_at" = now()
where "workflows"."id" = $3
returning "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until";

-- tryNow

UPDATE /* tryNow */ builds SET retry_at = now()
WHERE workflow_id = $1 AND generation = $2 AND status = 'QUEUED' AND retry_at > now() RETURNING id;
