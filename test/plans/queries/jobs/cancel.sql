-- db/jobs/cancel.ts

-- cancelJob

DELETE /* cancelJob */ FROM run_requests WHERE job_id = $1;

SELECT /* cancelJob */ FROM schedules WHERE workflow_id = $1 FOR UPDATE;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited"
from "jobs"
where "jobs"."id" = $1;

select "workflow_id"
from "jobs"
where ("jobs"."id" = $1 and "jobs"."user_id" = $2
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "jobs"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL));
