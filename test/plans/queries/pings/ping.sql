-- db/pings/ping.ts

-- completeByPing

WITH /* completeByPing */ token AS MATERIALIZED (
    SELECT workflow_id, start_grace_seconds, run_grace_seconds, post_only
      AND NOT $1::boolean AS is_refused,
      started_at, start_rid, ended_at, given_up_at, log, log_line_count
    FROM pings WHERE token_hash = $2::bytea FOR UPDATE
  ), schedule AS MATERIALIZED (
    SELECT user_id, kind, generation, state, failing OR watches_ends AS may_notify, paused,
      wake_at, interval_minutes, calendar_id, starts_at, ends_at,
      last_job_id IS NOT NULL OR requested OR waiting AS is_busy
    FROM schedules WHERE workflow_id = (SELECT workflow_id FROM token) FOR UPDATE
  ), planned AS MATERIALIZED (
    SELECT token.workflow_id, s.user_id, s.kind, s.generation, log, log_line_count,
      start_grace_seconds, matches, keeps, next_slot, s.wake_at,
      CASE WHEN s.paused THEN s.wake_at WHEN s.is_busy THEN least(s.wake_at,
        runs_at) ELSE runs_at END AS next_wake,
      CASE WHEN matches THEN least(started_at, now()) ELSE now() END AS began_at,
      CASE WHEN refusal <> 'DONE' THEN refusal WHEN s.may_notify OR is_unknown THEN 'SLOW' ELSE 'DONE' END AS outcome
    FROM token LEFT JOIN schedule s ON true
    LEFT JOIN LATERAL (
      SELECT occurrences[width_bucket(greatest(now(), s.starts_at - interval '1 microsecond'),
        occurrences) + 1] AS first_at, is_last
      FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
    ) calendar ON true,
      LATERAL (SELECT CASE WHEN first_at >= s.ends_at THEN NULL ELSE first_at END AS planned_at) planned, LATERAL (
      SELECT CASE WHEN s.interval_minutes IS NULL THEN planned_at ELSE now() + make_interval(mins => s.interval_minutes) END AS next_slot,
        s.calendar_id IS NOT NULL AND first_at IS NULL AND is_last IS NOT TRUE AS is_unknown
    ) next, LATERAL (
      SELECT CASE WHEN is_refused THEN 'POST_ONLY' WHEN s.state IS DISTINCT FROM 'READY' THEN 'GONE' ELSE 'DONE' END AS refusal, started_at IS NOT NULL AND ended_at IS NULL AND start_rid IS NOT DISTINCT FROM $3::uuid AS matches
    ) seen, LATERAL (
      -- pings of other runs leave the end of a run where it is
      SELECT started_at IS NOT NULL AND ended_at IS NULL AND given_up_at IS NULL
        AND NOT matches AS keeps, next_slot + make_interval(secs => start_grace_seconds) AS runs_at
    ) ahead
  ), moved AS (
    UPDATE schedules SET next_run_at = next_slot, delay_seconds = start_grace_seconds,
      wake_at = next_wake
    FROM planned WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id])
      AND outcome = 'DONE' AND NOT keeps
  ), noted AS (
    UPDATE pings SET ended_at = CASE WHEN matches THEN now() ELSE ended_at END, log = '',
      log_line_count = 0
    FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
      AND (matches OR planned.log_line_count > 0)
  ), ended AS (
    INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, attempt,
      scheduled_at, started_at, completed_at, exit_code,
      log_line_count, after_failure, awaited)
    SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
      '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, workflow_id, user_id, kind, 'PING',
      'COMPLETED', generation, 1, now(), began_at, now(), $4::integer,
      log_line_count + $5, false, false
    FROM planned WHERE outcome = 'DONE'
    RETURNING id, workflow_id, user_id, status, started_at, attempt, log_line_count
  ), stored AS (
    INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
    SELECT id, 1, ended.log_line_count, attempt, log || $6::bytea FROM ended,
      planned WHERE ended.log_line_count > 0
  ), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0),
eager AS MATERIALIZED (
  SELECT id FROM users WHERE id = ANY(ARRAY(SELECT DISTINCT user_id FROM ended))
    AND notification_preference = 'ALL'
), notified AS (
  INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, ended.user_id, 'JOB_COMPLETED',
    workflows.id, workflows.name, ended.id
  FROM eager JOIN ended ON ended.user_id = eager.id JOIN workflows ON workflows.id = ANY(ARRAY[ended.workflow_id])
  WHERE ended.status = 'COMPLETED'
  RETURNING id, user_id
)
  SELECT outcome, planned.user_id, coalesce(next_wake < wake_at, next_wake IS NOT NULL)
    AND NOT keeps AS sooner,
    (SELECT id FROM ended) AS job_id, (SELECT string_agg(id::text, ' ') FROM notified) AS notified
  FROM planned;

insert into "jobs" ("id", "workflow_id", "user_id", "kind", "trigger", "status", "generation",
  "attempt", "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at",
  "queued_at", "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at",
  "engine_id", "cancel_requested_at", "exit_code", "failure_reason", "failure_message",
  "log_line_count", "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt",
  "after_failure", "awaited", "retries", "retry_at")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, $4, $5, $6, $7, default,
  default, now(), default, default, default, now(), default, gen_random_uuid(), default,
  now() + make_interval(secs => $8), default, default, default, default, default, default, default,
  default, default, default, default, default, $9, default, default)
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
set "log" = '', "log_line_count" = $1
where "pings"."workflow_id" = $2;

update "schedules"
set "delay_seconds" = $1, "next_run_at" = $2, "wake_at" = now()
where "schedules"."workflow_id" = $3;

-- logByPing

WITH /* logByPing */ token AS MATERIALIZED (
  SELECT workflow_id, start_grace_seconds, run_grace_seconds, post_only
    AND NOT $1::boolean AS is_refused,
    started_at, start_rid, ended_at, given_up_at, log, log_line_count
  FROM pings WHERE token_hash = $2::bytea FOR UPDATE
), schedule AS MATERIALIZED (
  SELECT user_id, kind, generation, state, failing OR watches_ends AS may_notify, paused, wake_at,
    interval_minutes, calendar_id, starts_at, ends_at,
    last_job_id IS NOT NULL OR requested OR waiting AS is_busy
  FROM schedules WHERE workflow_id = (SELECT workflow_id FROM token) FOR UPDATE
), planned AS MATERIALIZED (
  SELECT token.workflow_id, CASE WHEN refusal <> 'DONE' THEN refusal
    WHEN octet_length(log) + octet_length($3::bytea) > $4 THEN 'FULL' ELSE 'DONE' END AS outcome
  FROM token LEFT JOIN schedule s ON true,
    LATERAL (SELECT CASE WHEN is_refused THEN 'POST_ONLY' WHEN s.state IS DISTINCT FROM 'READY' THEN 'GONE' ELSE 'DONE' END AS refusal) seen
), noted AS (
  UPDATE pings SET log = pings.log || $5::bytea, log_line_count = pings.log_line_count + $6
  FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
)
SELECT outcome FROM planned;

-- startByPing

WITH /* startByPing */ token AS MATERIALIZED (
  SELECT workflow_id, start_grace_seconds, run_grace_seconds, post_only
    AND NOT $1::boolean AS is_refused,
    started_at, start_rid, ended_at, given_up_at, log, log_line_count
  FROM pings WHERE token_hash = $2::bytea FOR UPDATE
), schedule AS MATERIALIZED (
  SELECT user_id, kind, generation, state, failing OR watches_ends AS may_notify, paused, wake_at,
    interval_minutes, calendar_id, starts_at, ends_at,
    last_job_id IS NOT NULL OR requested OR waiting AS is_busy
  FROM schedules WHERE workflow_id = (SELECT workflow_id FROM token) FOR UPDATE
), planned AS MATERIALIZED (
  SELECT token.workflow_id, s.wake_at, run_grace_seconds,
    CASE WHEN is_refused THEN 'POST_ONLY' WHEN s.state IS DISTINCT FROM 'READY' THEN 'GONE' ELSE 'DONE' END AS outcome,
    CASE WHEN s.paused THEN s.wake_at WHEN s.is_busy THEN least(s.wake_at,
      runs_at) ELSE runs_at END AS next_wake
  FROM token LEFT JOIN schedule s ON true,
    LATERAL (SELECT now() + make_interval(secs => run_grace_seconds) AS runs_at) ahead
), moved AS (
  UPDATE schedules SET next_run_at = now(), delay_seconds = run_grace_seconds, wake_at = next_wake
  FROM planned WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
), noted AS (
  UPDATE pings SET started_at = now(), start_rid = $3::uuid, ended_at = NULL, given_up_at = NULL
  FROM planned WHERE pings.workflow_id = ANY(ARRAY[planned.workflow_id]) AND outcome = 'DONE'
)
SELECT outcome, coalesce(next_wake < wake_at, next_wake IS NOT NULL) AS sooner FROM planned;
