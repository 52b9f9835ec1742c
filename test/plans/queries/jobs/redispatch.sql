-- db/jobs/redispatch.ts

-- redispatchQueued

WITH /* redispatchQueued */ near AS MATERIALIZED (
    SELECT workflow_id, wake_at, last_job_id FROM schedules
    WHERE wake_at > now() AND wake_at <= now() + make_interval(secs => $1)
    ORDER BY wake_at, workflow_id LIMIT $2
  ), forgotten AS MATERIALIZED (
    SELECT near.workflow_id FROM near, LATERAL (
      SELECT FROM jobs WHERE id = near.last_job_id AND status = 'QUEUED'
        AND greatest(
near.wake_at - CASE kind WHEN 'CONTAINER' THEN make_interval(secs => $3) ELSE make_interval(secs => $4) END,
least(updated_at + (near.wake_at - updated_at) / 2,
  near.wake_at - make_interval(secs => $5))) < now() - make_interval(secs => $6) LIMIT 1) job
  ), free AS MATERIALIZED (
    SELECT schedules.workflow_id FROM forgotten, LATERAL (
      SELECT workflow_id FROM schedules WHERE schedules.workflow_id = forgotten.workflow_id
        AND wake_at > now()
      LIMIT 1 FOR UPDATE SKIP LOCKED) schedules
  ), woken AS (
    UPDATE schedules SET wake_at = now() FROM free WHERE schedules.workflow_id = free.workflow_id RETURNING 1
  )
  SELECT (SELECT count(*) FROM woken)::integer AS count,
    (SELECT count(*) FROM near)::integer AS read,
    wake_at::text, workflow_id
  FROM near ORDER BY near.wake_at DESC, workflow_id DESC LIMIT 1;

WITH /* redispatchQueued */ near AS MATERIALIZED (
    SELECT workflow_id, wake_at, last_job_id FROM schedules
    WHERE wake_at >= $1 AND (wake_at, workflow_id) > ($2, $3)
      AND wake_at <= now() + make_interval(secs => $4)
    ORDER BY wake_at, workflow_id LIMIT $5
  ), forgotten AS MATERIALIZED (
    SELECT near.workflow_id FROM near, LATERAL (
      SELECT FROM jobs WHERE id = near.last_job_id AND status = 'QUEUED'
        AND greatest(
near.wake_at - CASE kind WHEN 'CONTAINER' THEN make_interval(secs => $6) ELSE make_interval(secs => $7) END,
least(updated_at + (near.wake_at - updated_at) / 2,
  near.wake_at - make_interval(secs => $8))) < now() - make_interval(secs => $9) LIMIT 1) job
  ), free AS MATERIALIZED (
    SELECT schedules.workflow_id FROM forgotten, LATERAL (
      SELECT workflow_id FROM schedules WHERE schedules.workflow_id = forgotten.workflow_id
        AND wake_at > now()
      LIMIT 1 FOR UPDATE SKIP LOCKED) schedules
  ), woken AS (
    UPDATE schedules SET wake_at = now() FROM free WHERE schedules.workflow_id = free.workflow_id RETURNING 1
  )
  SELECT (SELECT count(*) FROM woken)::integer AS count,
    (SELECT count(*) FROM near)::integer AS read,
    wake_at::text, workflow_id
  FROM near ORDER BY near.wake_at DESC, workflow_id DESC LIMIT 1;
