-- db/builds/claim.ts

-- claimBuilds

WITH /* claimBuilds */ free AS (
      SELECT id FROM builds WHERE id = ANY($1::uuid[]) AND status = 'QUEUED'
        AND (retry_at IS NULL OR retry_at <= now())
      ORDER BY id FOR UPDATE SKIP LOCKED
    ), changed AS (
      UPDATE builds SET status = 'STARTED', attempt = attempt + 1, started_at = now(),
        retry_at = NULL,
        waits_for = NULL, awaits_engine = false,
        lease_token = $2, lease_owner = $3,
          lease_expires_at = clock_timestamp() + make_interval(secs => $4)
      FROM free WHERE builds.id = ANY(ARRAY[free.id])
      RETURNING builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status,
        builds.error,
    builds.log_open, attempt, waits, NOT (attempt - uncounted_attempts < $5) AS is_last,
        CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT changed.*, payloads.payload FROM changed
      JOIN payloads ON payloads.workflow_id = ANY(ARRAY[changed.workflow_id])
        AND payloads.generation = changed.generation;
