-- db/builds/finish.ts

-- endBuild

INSERT /* endBuild */ INTO schedules (workflow_id, user_id, kind, state, generation,
  interval_minutes, next_run_at, wake_at)
SELECT id, user_id, kind, 'READY', generation, interval_minutes, now(), now() FROM workflows -- a first build, at an interval
WHERE id = $1 AND generation = $2 AND terminated_at IS NULL
ON CONFLICT (workflow_id) DO UPDATE SET state = 'READY', generation = excluded.generation,
  wake_at = now()
  WHERE schedules.state IN ('BLOCKED', 'READY');

SELECT /* endBuild */ FROM workflows WHERE id = $1 FOR NO KEY UPDATE;

SELECT /* endBuild */ state FROM schedules WHERE workflow_id = $1 FOR UPDATE;

WITH /* endBuild */ changed AS (
      UPDATE builds SET status = $1, log_line_count = $2,
        image_id = $3,
        image_digest = $4,
        engine_id = $5,
        error = $6, completed_at = CASE WHEN true THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = true AND false
      WHERE id = $7 AND lease_token = $8 RETURNING builds.id, builds.workflow_id, builds.user_id,
        builds.generation, builds.status, builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;
