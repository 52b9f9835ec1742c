-- db/jobs/reconcile.ts

-- endOrReturn

WITH /* endOrReturn */ target AS MATERIALIZED (
    SELECT u.id, u.status AS new_status FROM unnest($1::uuid[], $2::text[]) AS u (id, status),
      LATERAL (
      SELECT FROM jobs_20261129 AS jobs WHERE jobs.id = u.id AND (
        jobs.status = 'RUNNING' AND lease_expires_at < now() -- when this began: none that was renewed since, however long ago
        OR jobs.status IN ('PENDING', 'QUEUED') AND u.status = 'CANCELED')
      LIMIT 1 FOR UPDATE SKIP LOCKED) lost
  ), changed AS (
    UPDATE jobs_20261129 AS jobs SET status = new_status, updated_at = now(),
      failure_reason = CASE WHEN new_status = 'FAILED' THEN 'SYSTEM' END,
      failure_message = CASE WHEN new_status = 'FAILED' THEN $3
        WHEN new_status = 'PENDING' OR cancel_requested_at IS NOT NULL THEN failure_message END, -- of the attempt before, or why it was canceled
      retry_at = NULL, started_at = CASE WHEN new_status <> 'PENDING' THEN started_at END,
      log_line_count = (SELECT coalesce(max(last_number),
        0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], jobs.id))),
      lost_attempt = CASE WHEN new_status = 'PENDING'
        AND kind = 'CONTAINER' THEN attempt ELSE lost_attempt END,
      completed_at = CASE WHEN new_status <> 'PENDING' THEN now() END,
        lease_token = CASE WHEN false THEN jobs.lease_token END,
        lease_owner = CASE WHEN false THEN jobs.lease_owner END,
        lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = new_status <> 'PENDING' AND attempt > 0
    FROM target WHERE jobs.id = ANY(ARRAY[target.id]) RETURNING jobs.id, jobs.workflow_id,
      jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open
  ),
  ended AS (
    SELECT * FROM changed WHERE status IN ('COMPLETED', 'FAILED', 'CANCELED')
  ), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0)
  SELECT * FROM changed;

-- endPauses

WITH /* endPauses */ paused AS MATERIALIZED (
  SELECT s.workflow_id, CASE WHEN open_since IS NOT NULL THEN open_since
      WHEN s.next_run_at > s.paused_until OR s.next_run_at IS NULL THEN s.next_run_at ELSE slots.following END AS next_slot,
    CASE WHEN open_since IS NULL THEN coalesce(start_grace_seconds, s.delay_seconds)
      ELSE greatest(run_grace_seconds,
        ceil(extract(epoch FROM s.paused_until - open_since))::integer + start_grace_seconds) END AS delay
  FROM schedules s LEFT JOIN LATERAL (
    SELECT start_grace_seconds, run_grace_seconds, CASE WHEN started_at IS NOT NULL
      AND ended_at IS NULL AND given_up_at IS NULL THEN started_at END AS open_since
    FROM pings WHERE workflow_id = ANY(ARRAY[s.workflow_id]) LIMIT 1
  ) expected ON true LEFT JOIN LATERAL (
    SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true, LATERAL (
    SELECT make_interval(mins => s.interval_minutes) AS every,
      width_bucket(least(s.paused_until, s.ends_at - interval '1 microsecond'),
        occurrences) AS k OFFSET 0
  ) place, LATERAL (
    SELECT floor(date_part('epoch', s.paused_until - s.next_run_at) / date_part('epoch',
      every)) AS n OFFSET 0
  ) intervals, LATERAL (
    SELECT CASE WHEN n IS NULL THEN greatest(s.next_run_at,
      occurrences[k]) ELSE s.next_run_at + every * n END AS slot,
      CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= s.ends_at THEN NULL ELSE occurrences[k + 1] END
        ELSE s.next_run_at + every * (n + 1) END AS following,
      CASE WHEN n IS NULL THEN greatest(k - width_bucket(s.next_run_at, occurrences),
        0) ELSE n::integer END AS passed,
      occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
  ) slots WHERE s.workflow_id = ANY($1::uuid[])
    AND s.paused AND exhausted IS NOT TRUE -- the calendar may have changed since it was read
)
UPDATE schedules SET paused = false, paused_until = NULL, next_run_at = next_slot,
  delay_seconds = delay
FROM paused WHERE schedules.workflow_id = ANY(ARRAY[paused.workflow_id]);

-- lockChanging

SELECT /* lockChanging */ FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
  AND (status = 'PENDING' OR completed_at IS NULL AND id = ANY($2::uuid[]))
ORDER BY id FOR NO KEY UPDATE;

SELECT /* lockChanging */ job_id AS id FROM run_requests WHERE workflow_id = ANY($1::uuid[]);

-- markQueued

UPDATE /* markQueued */ jobs_20261129 AS jobs SET status = 'QUEUED', queued_at = now(),
  updated_at = now()
WHERE id = ANY($1::uuid[]) AND status = 'PENDING';

-- readSchedules

SELECT /* readSchedules */ (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS read_at_ms,
  id, status, attempt - uncounted_attempts - retries AS attempts,
  extract(epoch FROM retry_at - clock_timestamp())::float8 AS retry_in,
    (extract(epoch FROM queued_at) * 1000)::float8 AS queued_ms,
  extract(epoch FROM clock_timestamp() - updated_at)::float8 AS age,
  extract(epoch FROM clock_timestamp() - lease_expires_at)::float8 AS lease_expired,
    cancel_requested_at IS NOT NULL AS cancel_requested
FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]);

SELECT /* readSchedules */ (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS read_at_ms,
  s.workflow_id, s.user_id, s.kind, s.state, s.paused, s.overlap, s.calendar_id, s.last_job_id,
  extract(epoch FROM s.paused_until - clock_timestamp())::float8 AS pause_ends_in, slot, exhausted,
  (extract(epoch FROM slot + make_interval(secs => s.delay_seconds)) * 1000)::float8 AS slot_runs_ms,
  s.next_run_at <= (clock_timestamp() - make_interval(secs => s.delay_seconds)) AS slot_due,
    slot < (clock_timestamp() - make_interval(secs => s.delay_seconds)) - make_interval(secs => s.late_seconds) AND s.replacing_slot_at IS DISTINCT FROM s.next_run_at AS slot_late,
  extract(epoch FROM s.next_run_at - (clock_timestamp() - make_interval(secs => s.delay_seconds)))::float8 AS next_run_in, request.job_id AS request_id
FROM schedules s
  LEFT JOIN LATERAL (
    SELECT job_id FROM run_requests WHERE workflow_id = s.workflow_id ORDER BY job_id LIMIT 1) request ON true
  LEFT JOIN LATERAL (
    SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true, LATERAL (
    SELECT make_interval(mins => s.interval_minutes) AS every,
      width_bucket(least(CASE WHEN s.paused THEN s.paused_until ELSE (clock_timestamp() - make_interval(secs => s.delay_seconds)) END, s.ends_at - interval '1 microsecond'), occurrences) AS k OFFSET 0
  ) place, LATERAL (
    SELECT floor(date_part('epoch',
      CASE WHEN s.paused THEN s.paused_until ELSE (clock_timestamp() - make_interval(secs => s.delay_seconds)) END - s.next_run_at) / date_part('epoch', every)) AS n OFFSET 0
  ) intervals, LATERAL (
    SELECT CASE WHEN n IS NULL THEN greatest(s.next_run_at,
      occurrences[k]) ELSE s.next_run_at + every * n END AS slot,
      CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= s.ends_at THEN NULL ELSE occurrences[k + 1] END
        ELSE s.next_run_at + every * (n + 1) END AS following,
      CASE WHEN n IS NULL THEN greatest(k - width_bucket(s.next_run_at, occurrences),
        0) ELSE n::integer END AS passed,
      occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
  ) slots
WHERE s.workflow_id = ANY($1::uuid[]);

-- reconcileSchedules

SELECT /* reconcileSchedules */ workflow_id FROM schedules
WHERE workflow_id = ANY($1::uuid[]) AND wake_at <= clock_timestamp()
ORDER BY workflow_id FOR UPDATE SKIP LOCKED;

-- removeTerminated

DELETE /* removeTerminated */ FROM schedules WHERE workflow_id = ANY($1::uuid[]);

-- setWake

UPDATE /* setWake */ schedules SET wake_at = clock_timestamp() + make_interval(secs => u.wake_in_seconds), waiting = u.waiting,
  replacing_slot_at = CASE WHEN u.replaces THEN next_run_at ELSE replacing_slot_at END,
    last_job_id = u.last_job_id, requested = EXISTS (
    SELECT FROM run_requests WHERE workflow_id = u.workflow_id OFFSET 0) -- without this fence all requests are hashed
FROM unnest($1::uuid[], $2::double precision[], $3::boolean[], $4::boolean[],
  $5::uuid[]) AS u (workflow_id, wake_in_seconds, waiting, replaces, last_job_id)
WHERE schedules.workflow_id = ANY(ARRAY[u.workflow_id]);

-- skipSlots

WITH /* skipSlots */ passed AS MATERIALIZED (
  SELECT s.workflow_id, slots.following, slots.passed,
    (skip_notified_at > now() - make_interval(hours => $1)) IS NOT TRUE AS is_new,
    coalesce(start_grace_seconds, s.delay_seconds) AS delay
  FROM schedules s LEFT JOIN LATERAL (
    SELECT start_grace_seconds, run_grace_seconds, CASE WHEN started_at IS NOT NULL
      AND ended_at IS NULL AND given_up_at IS NULL THEN started_at END AS open_since
    FROM pings WHERE workflow_id = ANY(ARRAY[s.workflow_id]) LIMIT 1
  ) expected ON true LEFT JOIN LATERAL (
    SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true, LATERAL (
    SELECT make_interval(mins => s.interval_minutes) AS every,
      width_bucket(least((clock_timestamp() - make_interval(secs => s.delay_seconds)),
        s.ends_at - interval '1 microsecond'), occurrences) AS k OFFSET 0
  ) place, LATERAL (
    SELECT floor(date_part('epoch',
      (clock_timestamp() - make_interval(secs => s.delay_seconds)) - s.next_run_at) / date_part('epoch', every)) AS n OFFSET 0
  ) intervals, LATERAL (
    SELECT CASE WHEN n IS NULL THEN greatest(s.next_run_at,
      occurrences[k]) ELSE s.next_run_at + every * n END AS slot,
      CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= s.ends_at THEN NULL ELSE occurrences[k + 1] END
        ELSE s.next_run_at + every * (n + 1) END AS following,
      CASE WHEN n IS NULL THEN greatest(k - width_bucket(s.next_run_at, occurrences),
        0) ELSE n::integer END AS passed,
      occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
  ) slots WHERE s.workflow_id = ANY($2::uuid[])
    AND s.next_run_at <= (clock_timestamp() - make_interval(secs => s.delay_seconds)) AND exhausted IS NOT TRUE -- the last occurrence may have passed since it was read
)
UPDATE schedules SET next_run_at = following, delay_seconds = delay,
  skipped_run_count = skipped_run_count + passed + 1,
  skip_notified_at = CASE WHEN is_new THEN now() ELSE skip_notified_at END
FROM passed WHERE schedules.workflow_id = ANY(ARRAY[passed.workflow_id]) RETURNING schedules.workflow_id, is_new;

-- takeRequests

DELETE /* takeRequests */ FROM run_requests WHERE job_id = ANY($1::uuid[]);

-- wakeEnded

SELECT /* wakeEnded */ id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
  AND completed_at IS NOT NULL;

SELECT /* wakeEnded */ workflow_id, last_job_id AS id FROM schedules
WHERE workflow_id = ANY($1::uuid[]) AND waiting AND last_job_id IS NOT NULL;

WITH /* wakeEnded */ locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules
  WHERE workflow_id = ANY($1::uuid[]) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
    AND last_job_id = ANY($2::uuid[])
  ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING 1;
