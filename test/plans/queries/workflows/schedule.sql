-- db/workflows/schedule.ts

-- changePolicy

insert into "schedules" ("workflow_id", "user_id", "kind", "state", "generation",
  "interval_minutes", "calendar_id", "starts_at", "ends_at", "delay_seconds", "overlap",
  "late_seconds", "paused", "paused_until", "skipped_run_count", "skip_notified_at",
  "late_after_seconds", "expected_max_seconds", "watches_ends", "late_slot_at", "long_job_id",
  "replacing_slot_at", "last_slot_at", "next_run_at", "wake_at", "waiting", "requested", "failing",
  "last_job_id")
values ($1, $2, $3, $4, $5, $6, default, default, default, $7, $8, $9, default, default, default,
  default, $10, $11, $12, default, default, default, default, default, default, default, default,
  default, default)
on conflict do nothing;

update "schedules"
set "delay_seconds" = $1, "overlap" = $2, "late_seconds" = $3, "late_after_seconds" = $4,
  "expected_max_seconds" = $5, "watches_ends" = $6, "late_slot_at" = "schedules"."last_slot_at"
where "schedules"."workflow_id" = $7;

-- changeSchedule

insert into "schedules" ("workflow_id", "user_id", "kind", "state", "generation",
  "interval_minutes", "calendar_id", "starts_at", "ends_at", "delay_seconds", "overlap",
  "late_seconds", "paused", "paused_until", "skipped_run_count", "skip_notified_at",
  "late_after_seconds", "expected_max_seconds", "watches_ends", "late_slot_at", "long_job_id",
  "replacing_slot_at", "last_slot_at", "next_run_at", "wake_at", "waiting", "requested", "failing",
  "last_job_id")
values ($1, $2, $3, $4, $5, $6, default, default, default, $7, $8, $9, default, default, default,
  default, $10, $11, $12, default, default, default, default, default, default, default, default,
  default, default)
on conflict do nothing;

select "last_slot_at"
from "schedules"
where "schedules"."workflow_id" = $1 for update;

update "schedules"
set "interval_minutes" = $1, "calendar_id" = $2, "starts_at" = $3, "ends_at" = $4,
  "next_run_at" = $5
where "schedules"."workflow_id" = $6;

-- ensureSchedule

insert into "schedules" ("workflow_id", "user_id", "kind", "state", "generation",
  "interval_minutes", "calendar_id", "starts_at", "ends_at", "delay_seconds", "overlap",
  "late_seconds", "paused", "paused_until", "skipped_run_count", "skip_notified_at",
  "late_after_seconds", "expected_max_seconds", "watches_ends", "late_slot_at", "long_job_id",
  "replacing_slot_at", "last_slot_at", "next_run_at", "wake_at", "waiting", "requested", "failing",
  "last_job_id")
values ($1, $2, $3, $4, $5, $6, default, default, default, $7, $8, $9, default, default, default,
  default, $10, $11, $12, default, default, default, default, default, default, default, default,
  default, default)
on conflict do nothing;

-- transactionMs

SELECT /* transactionMs */ (extract(epoch FROM now()) * 1000)::float8 AS ms;
