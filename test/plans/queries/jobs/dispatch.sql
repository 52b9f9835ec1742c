-- db/jobs/dispatch.ts

-- markAwaited

WITH /* markAwaited */ locked AS MATERIALIZED (
  SELECT id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]) AND completed_at IS NULL
    AND NOT awaited
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE jobs_20261129 AS jobs SET awaited = true FROM locked WHERE jobs.id = ANY(ARRAY[locked.id]);

-- nextWakeMs

SELECT /* nextWakeMs */ (extract(epoch FROM min(wake_at) - clock_timestamp()) * 1000)::float8 AS ms
FROM schedules WHERE wake_at IS NOT NULL;

-- queueDueSlots

WITH /* queueDueSlots */ due AS MATERIALIZED (
  SELECT ctid AS tid, workflow_id, last_job_id, next_run_at, interval_minutes, calendar_id,
    ends_at, late_seconds, delay_seconds,
    replacing_slot_at = next_run_at AS replaces, state = 'READY' AND NOT paused
      AND next_run_at <= now() - make_interval(secs => delay_seconds) AND NOT requested AS has_slot
  FROM schedules WHERE wake_at <= now()
  ORDER BY wake_at LIMIT $1 FOR UPDATE SKIP LOCKED
), looked AS MATERIALIZED (
  SELECT tid, workflow_id, slot, following, passed, delay_seconds,
    has_slot AND (last_job_id IS NULL OR last_job.completed_at IS NOT NULL)
      AND exhausted IS NOT TRUE
      AND (slot < now() - make_interval(secs => delay_seconds) - make_interval(secs => late_seconds) AND replaces IS NOT TRUE) IS NOT TRUE AS makes_job
  FROM due
    LEFT JOIN LATERAL (SELECT completed_at FROM jobs_20261129 AS jobs WHERE id = due.last_job_id UNION ALL SELECT completed_at FROM jobs_other AS jobs WHERE id = due.last_job_id LIMIT 1) last_job ON true
    LEFT JOIN LATERAL (
    SELECT occurrences, is_last FROM calendars WHERE id = ANY(ARRAY[due.calendar_id]) LIMIT 1
  ) calendar ON true, LATERAL (
    SELECT make_interval(mins => due.interval_minutes) AS every,
      width_bucket(least(now() - make_interval(secs => delay_seconds),
        due.ends_at - interval '1 microsecond'), occurrences) AS k OFFSET 0
  ) place, LATERAL (
    SELECT floor(date_part('epoch',
      now() - make_interval(secs => delay_seconds) - due.next_run_at) / date_part('epoch',
      every)) AS n OFFSET 0
  ) intervals, LATERAL (
    SELECT CASE WHEN n IS NULL THEN greatest(due.next_run_at,
      occurrences[k]) ELSE due.next_run_at + every * n END AS slot,
      CASE WHEN n IS NULL THEN CASE WHEN occurrences[k + 1] >= due.ends_at THEN NULL ELSE occurrences[k + 1] END
        ELSE due.next_run_at + every * (n + 1) END AS following,
      CASE WHEN n IS NULL THEN greatest(k - width_bucket(due.next_run_at, occurrences),
        0) ELSE n::integer END AS passed,
      occurrences[k + 1] IS NULL AND NOT is_last AS exhausted OFFSET 0
  ) slots
), ids AS MATERIALIZED (
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint << 12 AS id_base,
    right(gen_random_uuid()::text, 17) AS id_end
), made AS MATERIALIZED (
  SELECT tid, slot, following, passed, following + make_interval(secs => delay_seconds) AS runs_at,
    (overlay(lpad(to_hex(id_base + row_number() OVER ()), 15,
    '0') PLACING '7' FROM 13 FOR 0) || id_end)::uuid AS job_id
  FROM looked, ids WHERE makes_job
), advanced AS (
  UPDATE schedules SET last_slot_at = slot, next_run_at = following, last_job_id = job_id,
    waiting = false,
    skipped_run_count = skipped_run_count + passed, wake_at = least(runs_at,
      now() + make_interval(secs => $2))
  FROM made WHERE schedules.ctid = tid
  RETURNING job_id, workflow_id, user_id, kind, generation,
    failing OR watches_ends AS after_failure, slot
), inserted AS (
  INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at,
    queued_at, after_failure, awaited)
  SELECT job_id, workflow_id, user_id, kind, 'AUTOMATIC', 'QUEUED', generation, slot, now(),
    after_failure, false FROM advanced
)
SELECT kind, user_id, string_agg(job_id::text, ' ') AS ids FROM advanced GROUP BY kind, user_id
UNION ALL SELECT NULL, NULL, string_agg(workflow_id::text,
  ' ') FROM looked WHERE makes_job IS NOT TRUE HAVING count(*) > 0;

-- wakeWaiting

WITH /* wakeWaiting */ locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules
  WHERE workflow_id = ANY($1::uuid[]) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
  ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = ANY(ARRAY[locked.workflow_id]) RETURNING 1;
