-- db/jobs/anchor.ts

-- anchorSchedules

SELECT /* anchorSchedules */ workflow_id FROM schedules WHERE workflow_id > $1
  AND (next_run_at > now() + make_interval(mins => interval_minutes)
OR wake_at > now() + make_interval(secs => $2)
  AND wake_at < coalesce(CASE WHEN paused THEN paused_until ELSE next_run_at END,
  'infinity') - interval '1 second')
  ORDER BY workflow_id LIMIT $3;

WITH /* anchorSchedules */ active AS MATERIALIZED (
  SELECT id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]) AND completed_at IS NULL
  ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE jobs_20261129 AS jobs SET updated_at = least(updated_at, now()),
  retry_at = retry_at - greatest(updated_at - now(), interval '0'),
  lease_expires_at = CASE WHEN lease_expires_at > clock_timestamp() + make_interval(secs => $2) THEN clock_timestamp() + make_interval(secs => $3) ELSE lease_expires_at END
FROM active WHERE jobs.id = ANY(ARRAY[active.id]);

WITH /* anchorSchedules */ locked AS MATERIALIZED (
    SELECT workflow_id FROM schedules WHERE workflow_id = ANY($1::uuid[])
      AND (next_run_at > now() + make_interval(mins => interval_minutes)
OR wake_at > now() + make_interval(secs => $2)
  AND wake_at < coalesce(CASE WHEN paused THEN paused_until ELSE next_run_at END,
  'infinity') - interval '1 second')
    ORDER BY workflow_id FOR UPDATE
  ), anchored AS (
    UPDATE schedules SET wake_at = now(),
      last_slot_at = CASE WHEN last_slot_at > now()
        AND calendar_id IS NULL THEN now() ELSE last_slot_at END,
      next_run_at = CASE WHEN next_run_at > now() + make_interval(mins => interval_minutes)
        THEN now() + make_interval(secs => random() +
          mod(extract(epoch FROM next_run_at - now()), interval_minutes * 60)::float8)
        ELSE next_run_at END
    FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING last_job_id
  )
  SELECT last_job_id FROM anchored;

-- databaseClockMs

SELECT /* databaseClockMs */ (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms;

-- shortenBuildLeases

WITH /* shortenBuildLeases */ locked AS MATERIALIZED (
  SELECT id FROM builds WHERE completed_at IS NULL AND status = 'STARTED'
    AND lease_expires_at > clock_timestamp() + make_interval(secs => $1)
  ORDER BY id FOR UPDATE
)
UPDATE builds SET lease_expires_at = clock_timestamp() + make_interval(secs => $2)
WHERE id = ANY(ARRAY(SELECT id FROM locked));
