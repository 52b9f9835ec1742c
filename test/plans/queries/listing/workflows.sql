-- db/listing/workflows.ts

-- countWorkflows

select count(*)::integer
from (select 1 as "one"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and "workflows"."terminated_at" is null
  and "workflows"."kind" = $2 and strpos(lower("workflows"."name"), lower($3)) > 0)
limit $4) "counted" /* countWorkflows */;

-- listWorkflows

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until",
  (extract(epoch FROM "workflows"."updated_at") * 1000000)::bigint::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null
  and ((extract(epoch FROM "workflows"."updated_at") * 1000000)::bigint,
  "workflows"."id") < ($2::bigint, $3::uuid))
order by (extract(epoch FROM "workflows"."updated_at") * 1000000)::bigint asc, "workflows"."id" asc
limit $4 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until",
  coalesce(CASE WHEN "workflows"."terminated_at" IS NULL THEN (SELECT (extract(epoch FROM next_run_at) * 1000000)::bigint
      FROM schedules WHERE workflow_id = "workflows"."id" AND state = 'READY') END, 9223372036854775807)::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null
  and (coalesce(CASE WHEN "workflows"."terminated_at" IS NULL THEN (SELECT (extract(epoch FROM next_run_at) * 1000000)::bigint
      FROM schedules WHERE workflow_id = "workflows"."id" AND state = 'READY') END, 9223372036854775807), "workflows"."id") < ($2::bigint, $3::uuid))
order by coalesce(CASE WHEN "workflows"."terminated_at" IS NULL THEN (SELECT (extract(epoch FROM next_run_at) * 1000000)::bigint
      FROM schedules WHERE workflow_id = "workflows"."id" AND state = 'READY') END, 9223372036854775807) asc, "workflows"."id" asc
limit $4 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until", NULL::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and "workflows"."id" > $2)
order by "workflows"."id" asc
limit $3 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until", NULL::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and "workflows"."terminated_at" is null
  and "workflows"."kind" = $2 and strpos(lower("workflows"."name"), lower($3)) > 0)
order by "workflows"."id" desc
limit $4 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until", NULL::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null)
order by "workflows"."id" desc
limit $2 /* listWorkflows */;

select "id", "user_id", "name", "kind", "interval_minutes", "schedule", "run_policy",
  "max_consecutive_job_failures_allowed", "consecutive_job_failures_count", "on_too_many_failures",
  "paused_at", "paused_until", "pause_reason", "pause_note", "skipped_run_count", "generation",
  "build_status", "created_at", "updated_at", "terminated_at", "termination_reason", "deleted_at",
  "purge_requested_at", "log_retention_days", "logs_removed_to", "alert_after_failures",
  "has_own_alert_channels", "muted_until", lower("workflows"."name") COLLATE "C"::text as "key"
from "workflows"
where ("workflows"."user_id" = $1 and "workflows"."purge_requested_at" is null
  and "workflows"."deleted_at" is null and (lower("workflows"."name") COLLATE "C",
  "workflows"."id") > ($2::text, $3::uuid))
order by lower("workflows"."name") COLLATE "C" asc, "workflows"."id" asc
limit $4 /* listWorkflows */;
