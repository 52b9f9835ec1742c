-- db/ends/cancel-builds.ts

-- cancelBuilds

WITH /* cancelBuilds */ locked AS MATERIALIZED (
    SELECT id FROM builds WHERE workflow_id = ANY($1::uuid[]) AND completed_at IS NULL
    ORDER BY id FOR UPDATE
  ), changed AS (
    UPDATE builds SET status = 'CANCELED', retry_at = NULL, waits_for = NULL,
      completed_at = CASE WHEN true THEN now() END,
      lease_token = CASE WHEN false THEN builds.lease_token END,
      lease_owner = CASE WHEN false THEN builds.lease_owner END,
      lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = true AND started_at IS NOT NULL
    FROM locked WHERE builds.id = ANY(ARRAY[locked.id]) RETURNING builds.id, builds.workflow_id,
      builds.user_id, builds.generation, builds.status, builds.error,
    builds.log_open
  ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
  SELECT * FROM changed;
