-- db/jobs/dispatch.ts

-- nextWakeMs

SELECT /* nextWakeMs */ (extract(epoch FROM min(wake_at) - clock_timestamp()) * 1000)::float8 AS ms
FROM schedules WHERE wake_at IS NOT NULL;

-- queueDueSlots

WITH /* queueDueSlots */ due AS MATERIALIZED (
  SELECT workflow_id, user_id, kind, state, generation, interval_minutes, next_run_at, last_job_id,
    requested
  FROM schedules WHERE wake_at <= now()
  ORDER BY wake_at LIMIT $1 FOR UPDATE SKIP LOCKED
), looked AS MATERIALIZED (
  SELECT due.*, state = 'READY' AND next_run_at <= now() AND NOT requested
      AND (last_job_id IS NULL OR last_job.completed_at IS NOT NULL) AS idle
  FROM due
    LEFT JOIN LATERAL (SELECT completed_at FROM jobs WHERE id = due.last_job_id LIMIT 1) last_job ON true
), slots AS MATERIALIZED (
  SELECT looked.*, row_number() OVER () AS n, next_run_at + make_interval(mins => interval_minutes *
    floor(extract(epoch FROM now() - next_run_at) / (interval_minutes * 60))::integer) AS slot
  FROM looked WHERE idle
), ids AS MATERIALIZED (
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint << 12 AS id_base,
    right(gen_random_uuid()::text, 17) AS id_end
), made AS MATERIALIZED (
  SELECT slots.*, (overlay(lpad(to_hex(id_base + n), 15,
    '0') PLACING '7' FROM 13 FOR 0) || id_end)::uuid AS job_id,
    slot + make_interval(mins => interval_minutes) AS following FROM ids, slots
), advanced AS (
  UPDATE schedules SET last_slot_at = made.slot, next_run_at = made.following,
    last_job_id = made.job_id,
    waiting = false, wake_at = least(made.following, now() + make_interval(secs => $2))
  FROM made WHERE schedules.workflow_id = made.workflow_id
), inserted AS (
  INSERT INTO jobs (id, workflow_id, user_id, kind, trigger, status, generation, scheduled_at,
    queued_at)
  SELECT job_id, workflow_id, user_id, kind, 'AUTOMATIC', 'QUEUED', generation, slot,
    now() FROM made
  ON CONFLICT (workflow_id, scheduled_at) WHERE trigger = 'AUTOMATIC' DO NOTHING
)
SELECT workflow_id, job_id, user_id, kind FROM made
UNION ALL SELECT workflow_id, NULL, user_id, kind FROM looked WHERE idle IS NOT TRUE;

-- wakeWaiting

WITH /* wakeWaiting */ locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules
  WHERE workflow_id = ANY($1::uuid[]) AND waiting AND (wake_at > now()) IS TRUE -- so, by the key alone
  ORDER BY workflow_id FOR UPDATE
)
UPDATE schedules SET wake_at = now() FROM locked WHERE schedules.workflow_id = locked.workflow_id RETURNING 1;
