-- db/listing/jobs.ts

-- countJobs

select count(*)::integer
from (select 1 as "one"
from "jobs"
where ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[]))
limit $3) "counted" /* countJobs */;

select count(*)::integer
from (select 1 as "one"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (select 1 as "one"
from "jobs"
where ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($3::text[]))
limit $4) "counted"
limit $5) "of_all" /* countJobs */;

-- countJobsByWorkflow

select asked.id, count(*)::integer
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral (select 1 as "one"
from "jobs"
where "jobs"."workflow_id" = asked.id
limit $2) "counted" group by asked.id /* countJobsByWorkflow */;

-- listJobs

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited"
from "jobs"
where ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."id" > $2)
order by "jobs"."id" asc
limit $3 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited"
from "jobs"
where ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[]))
order by "jobs"."id" asc
limit $3 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited"
from "jobs"
where ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
order by "jobs"."id" desc
limit $2 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (select "id", "workflow_id", "user_id", "kind", "trigger", "status",
  "generation", "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at",
  "updated_at", "queued_at", "started_at", "completed_at", "lease_token", "lease_owner",
  "lease_expires_at", "engine_id", "cancel_requested_at", "exit_code", "failure_reason",
  "failure_message", "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with",
  "lost_attempt", "after_failure", "awaited"
from "jobs"
where "jobs"."workflow_id" = asked.id
order by "jobs"."id" desc
limit $3) "page"
order by "page"."id" desc
limit $4 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (select "id", "workflow_id", "user_id", "kind", "trigger", "status",
  "generation", "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at",
  "updated_at", "queued_at", "started_at", "completed_at", "lease_token", "lease_owner",
  "lease_expires_at", "engine_id", "cancel_requested_at", "exit_code", "failure_reason",
  "failure_message", "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with",
  "lost_attempt", "after_failure", "awaited"
from "jobs"
where ("jobs"."workflow_id" = asked.id and "jobs"."id" > $3)
order by "jobs"."id" asc
limit $4) "page"
order by "page"."id" asc
limit $5 /* listJobs */;

-- listJobsByWorkflow

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral (select "id", "workflow_id", "user_id", "kind", "trigger", "status",
  "generation", "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at",
  "updated_at", "queued_at", "started_at", "completed_at", "lease_token", "lease_owner",
  "lease_expires_at", "engine_id", "cancel_requested_at", "exit_code", "failure_reason",
  "failure_message", "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with",
  "lost_attempt", "after_failure", "awaited"
from "jobs"
where "jobs"."workflow_id" = asked.id
order by "jobs"."id" desc
limit $2) "page" /* listJobsByWorkflow */;
