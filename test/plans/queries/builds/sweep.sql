-- db/builds/sweep.ts

-- recoverLost

SELECT /* recoverLost */ FROM workflows WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

SELECT /* recoverLost */ id, workflow_id,
  (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS read_at_ms FROM builds WHERE completed_at IS NULL AND status = 'STARTED' AND lease_expires_at < now()
ORDER BY id LIMIT $1;

SELECT /* recoverLost */ workflow_id,
  state FROM schedules WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id FOR UPDATE;

WITH /* recoverLost */ locked AS MATERIALIZED (
      SELECT id FROM builds WHERE id = ANY($1::uuid[]) AND status = 'STARTED'
        AND lease_expires_at < now()
      ORDER BY id FOR UPDATE
    ), changed AS (
      UPDATE builds SET status = CASE WHEN (attempt - uncounted_attempts < $2) THEN 'QUEUED' ELSE 'FAILED' END,
        error = CASE WHEN (attempt - uncounted_attempts < $3) THEN NULL ELSE $4 END,
        log_line_count = (SELECT coalesce(max(last_number),
          0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], builds.id))),
        completed_at = CASE WHEN NOT (attempt - uncounted_attempts < $5) THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = NOT (attempt - uncounted_attempts < $6) AND true
      FROM locked WHERE builds.id = ANY(ARRAY[locked.id]) RETURNING builds.id, builds.workflow_id,
        builds.user_id, builds.generation, builds.status, builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;

-- sweepBuilds

SELECT /* sweepBuilds */ id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED'
AND NOT EXISTS (SELECT FROM turns WHERE turns.id = builds.id)
AND CASE WHEN retry_at IS NULL THEN coalesce(started_at,
  created_at) < now() - make_interval(secs => $1) ELSE retry_at <= now() END
ORDER BY id LIMIT $2;
