-- db/builds/postpone.ts

-- endWaitsForEngine

WITH /* endWaitsForEngine */ waiting AS MATERIALIZED (
  SELECT id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED' AND awaits_engine
    AND retry_at > now()
  ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE builds SET retry_at = now() FROM waiting WHERE builds.id = ANY(ARRAY[waiting.id])
RETURNING builds.id, builds.workflow_id, builds.user_id;

-- postponeBuild

WITH /* postponeBuild */ changed AS (
      UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
        retry_at = now() + make_interval(secs => $2), waits = waits + 1, waits_for = $3,
          awaits_engine = $4,
        completed_at = CASE WHEN false THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = false AND false
      WHERE id = $5 AND lease_token = $6
      RETURNING builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status,
        builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;

WITH /* postponeBuild */ changed AS (
      UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
        retry_at = now() + make_interval(secs => $2), waits = waits + 1, waits_for = $3,
          awaits_engine = $4,
        completed_at = CASE WHEN false THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = false AND false
      WHERE id = $5 AND lease_token = $6 AND (attempt - uncounted_attempts < $7)
      RETURNING builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status,
        builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;
