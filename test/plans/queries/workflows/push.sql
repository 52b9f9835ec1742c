-- db/workflows/push.ts

-- changePush

delete
from "pings"
where "pings"."workflow_id" = $1;

insert into "pings" ("workflow_id", "token_hash", "token", "start_grace_seconds",
  "run_grace_seconds", "post_only", "started_at", "start_rid", "ended_at", "given_up_at", "log",
  "log_line_count")
values ($1, $2, $3, $4, $5, $6, default, default, default, default, default, default);

update "pings"
set "start_grace_seconds" = $1, "run_grace_seconds" = $2, "post_only" = $3
where "pings"."workflow_id" = $4;

update "schedules"
set "delay_seconds" = $1
where "schedules"."workflow_id" = $2;

update "schedules"
set "delay_seconds" = $1, "next_run_at" = $2
where "schedules"."workflow_id" = $3
returning "last_job_id";

update "schedules"
set "delay_seconds" = $1, "next_run_at" = now()
where "schedules"."workflow_id" = $2;

-- changePushSchedule

update "schedules"
set "interval_minutes" = $1, "calendar_id" = $2, "starts_at" = $3, "ends_at" = $4,
  "next_run_at" = CASE WHEN "schedules"."next_run_at" IS NOT NULL THEN $5::timestamptz END
where "schedules"."workflow_id" = $6;

-- insertPings

insert into "pings" ("workflow_id", "token_hash", "token", "start_grace_seconds",
  "run_grace_seconds", "post_only", "started_at", "start_rid", "ended_at", "given_up_at", "log",
  "log_line_count")
values ($1, $2, $3, $4, $5, $6, default, default, default, default, default, default);

-- lockPings

select "workflow_id", "token_hash", "token", "start_grace_seconds", "run_grace_seconds",
  "post_only", "started_at", "start_rid", "ended_at", "given_up_at", "log", "log_line_count"
from "pings"
where "pings"."workflow_id" = $1 for update;

-- markActiveJob

UPDATE /* markActiveJob */ jobs_20261129 AS jobs SET after_failure = true WHERE id = $1
  AND completed_at IS NULL;
