-- db/pings/miss.ts

-- missPings

WITH /* missPings */ locked AS MATERIALIZED (
  SELECT workflow_id, start_grace_seconds, run_grace_seconds, started_at, ended_at, given_up_at
  FROM pings WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id FOR UPDATE
), found AS MATERIALIZED (
  SELECT u.id, u.workflow_id, job.scheduled_at, start_grace_seconds, started_at IS NOT NULL
    AND ended_at IS NULL AND given_up_at IS NULL AS is_open,
    CASE WHEN started_at <= job.scheduled_at AND job.scheduled_at < coalesce(ended_at, given_up_at,
      'infinity')
      AND started_at + make_interval(secs => run_grace_seconds) <= now() THEN started_at END AS started_at
  FROM unnest($2::uuid[], $3::uuid[]) AS u (id, workflow_id)
    LEFT JOIN locked ON locked.workflow_id = u.workflow_id,
    LATERAL (SELECT scheduled_at FROM jobs_20261129 AS jobs WHERE id = ANY(ARRAY[u.id]) LIMIT 1) job
), given_up AS (
  UPDATE pings SET given_up_at = now() FROM found
  WHERE pings.workflow_id = ANY(ARRAY[found.workflow_id]) AND found.started_at IS NOT NULL
    AND is_open
  RETURNING pings.workflow_id, pings.start_grace_seconds
), schedule AS MATERIALIZED (
  SELECT workflow_id, interval_minutes, calendar_id, starts_at, ends_at, next_run_at
  FROM schedules WHERE workflow_id = ANY(ARRAY(SELECT workflow_id FROM given_up)) ORDER BY workflow_id FOR UPDATE
), planned AS MATERIALIZED (
  -- without its calendar, the slot that the making of the job has set
  SELECT s.workflow_id,
    CASE WHEN is_unknown THEN s.next_run_at ELSE next_slot END AS next_slot FROM schedule s
  LEFT JOIN LATERAL (
    SELECT occurrences[width_bucket(greatest(now(), s.starts_at - interval '1 microsecond'),
      occurrences) + 1] AS first_at, is_last
    FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true,
    LATERAL (SELECT CASE WHEN first_at >= s.ends_at THEN NULL ELSE first_at END AS planned_at) planned, LATERAL (
    SELECT CASE WHEN s.interval_minutes IS NULL THEN planned_at ELSE now() + make_interval(mins => s.interval_minutes) END AS next_slot,
      s.calendar_id IS NOT NULL AND first_at IS NULL AND is_last IS NOT TRUE AS is_unknown
  ) next
), moved AS (
  UPDATE schedules SET next_run_at = next_slot, delay_seconds = start_grace_seconds,
    wake_at = least(wake_at, next_slot + make_interval(secs => start_grace_seconds))
  FROM planned JOIN given_up USING (workflow_id)
  WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) AND schedules.state = 'READY'
)
SELECT id, scheduled_at, started_at FROM found;
