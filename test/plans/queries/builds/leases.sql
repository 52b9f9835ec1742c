-- db/builds/leases.ts

-- othersBuild

SELECT /* othersBuild */ FROM builds WHERE completed_at IS NULL AND status = 'STARTED'
  AND lease_expires_at > now() AND lease_owner <> $1 LIMIT 1;

-- releaseBuilds

WITH /* releaseBuilds */ changed AS (
      UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
        completed_at = CASE WHEN false THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = false AND false
      FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
  WHERE builds.id = ANY(ARRAY[u.id]) AND builds.lease_token = u.lease_token
      RETURNING builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status,
        builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;

WITH /* releaseBuilds */ changed AS (
      UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
        completed_at = CASE WHEN false THEN now() END,
          lease_token = CASE WHEN false THEN builds.lease_token END,
          lease_owner = CASE WHEN false THEN builds.lease_owner END,
          lease_expires_at = CASE WHEN false THEN builds.lease_expires_at END,
    log_open = false AND false
      FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
  WHERE builds.id = ANY(ARRAY[u.id]) AND builds.lease_token = u.lease_token
    AND (attempt - uncounted_attempts < $4)
      RETURNING builds.id, builds.workflow_id, builds.user_id, builds.generation, builds.status,
        builds.error,
    builds.log_open
    ), shown AS (
UPDATE workflows SET build_status = changed.status, updated_at = now() FROM changed
WHERE workflows.id = ANY(ARRAY[changed.workflow_id]) AND workflows.generation = changed.generation)
    SELECT * FROM changed;

-- renewBuildLeases

UPDATE /* renewBuildLeases */ builds SET lease_expires_at = clock_timestamp() + make_interval(secs => $1) FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
WHERE builds.id = ANY(ARRAY[u.id]) AND builds.lease_token = u.lease_token RETURNING builds.id;
