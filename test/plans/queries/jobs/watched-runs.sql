-- db/jobs/watched-runs.ts

-- notifyWatchedRuns

SELECT /* notifyWatchedRuns */ id, trigger = 'AUTOMATIC' AS is_slot,
  floor(extract(epoch FROM scheduled_at) * 1000)::float8 AS slot_ms,
  attempt - uncounted_attempts > (is_started::integer) AS started_before,
  CASE WHEN is_started THEN floor(extract(epoch FROM started_at) * 1000)::float8 END AS started_ms,
    floor(extract(epoch FROM completed_at) * 1000)::float8 AS ended_ms
FROM jobs_20261129 AS jobs, LATERAL (SELECT started_at IS NOT NULL
  AND (lease_token IS NOT NULL OR completed_at IS NOT NULL) AS is_started) seen
WHERE id = ANY($1::uuid[]);

SELECT /* notifyWatchedRuns */ workflow_id AS id, last_job_id, late_after_seconds AS late_after,
  expected_max_seconds AS expected_max,
  delay_seconds AS delay, long_job_id,
    floor(extract(epoch FROM late_slot_at) * 1000)::float8 AS late_slot_ms,
    floor(extract(epoch FROM now()) * 1000)::float8 AS now_ms,
  floor(extract(epoch FROM waiting.slot) * 1000)::float8 AS waiting_ms
FROM schedules s LEFT JOIN LATERAL (
    SELECT slot FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true, LATERAL (
    SELECT make_interval(mins => s.interval_minutes) AS every,
      width_bucket(least(now() - make_interval(secs => s.delay_seconds),
        s.ends_at - interval '1 microsecond'), occurrences) AS k OFFSET 0
  ) place, LATERAL (
    SELECT floor(date_part('epoch',
      now() - make_interval(secs => s.delay_seconds) - s.next_run_at) / date_part('epoch',
      every)) AS n OFFSET 0
  ) intervals, LATERAL (
    SELECT CASE WHEN n IS NULL THEN greatest(s.next_run_at,
      occurrences[k]) ELSE s.next_run_at + every * n END AS slot,
      CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= s.ends_at THEN NULL ELSE occurrences[k + 1] END
        ELSE s.next_run_at + every * (n + 1) END AS following,
      CASE WHEN n IS NULL THEN greatest(k - width_bucket(s.next_run_at, occurrences),
        0) ELSE n::integer END AS passed,
      occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
  ) slots WHERE s.state = 'READY' AND NOT s.paused
    AND s.next_run_at <= now() - make_interval(secs => s.delay_seconds)
  ) waiting ON true
WHERE workflow_id > $1 AND (late_after_seconds IS NOT NULL OR expected_max_seconds IS NOT NULL)
  AND NOT EXISTS (SELECT FROM pings WHERE pings.workflow_id = s.workflow_id)
ORDER BY workflow_id LIMIT $2;

WITH /* notifyWatchedRuns */ u AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS u (id, late_slot, long_job_id)
), locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules WHERE workflow_id = ANY(ARRAY(SELECT id FROM u)) ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET late_slot_at = coalesce(late_slot, late_slot_at),
  long_job_id = coalesce(u.long_job_id, schedules.long_job_id)
FROM u JOIN locked ON locked.workflow_id = u.id
WHERE schedules.workflow_id = ANY(ARRAY[u.id])
  AND (late_slot IS DISTINCT FROM late_slot_at OR late_slot IS NULL)
  AND (u.long_job_id IS DISTINCT FROM schedules.long_job_id OR u.long_job_id IS NULL)
RETURNING schedules.workflow_id AS id, late_slot IS NOT NULL AS is_late;
