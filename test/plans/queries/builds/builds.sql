-- db/builds/builds.ts

-- claimBuilds

WITH /* claimBuilds */ free AS (
  SELECT id FROM builds WHERE id = ANY($1::uuid[])
    AND status = 'QUEUED' ORDER BY id FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE builds SET status = 'STARTED', attempt = attempt + 1, started_at = now(),
    lease_token = $2, lease_owner = $3,
      lease_expires_at = clock_timestamp() + make_interval(secs => $4)
  FROM free WHERE builds.id = free.id
  RETURNING builds.id, workflow_id, user_id, generation, attempt,
    CASE WHEN log_attempt >= attempt THEN log_line_count END AS lines
), shown AS (
  UPDATE workflows SET build_status = 'STARTED', updated_at = now() FROM claimed
  WHERE workflows.id = claimed.workflow_id AND workflows.generation = claimed.generation
)
SELECT claimed.*, payloads.payload FROM claimed JOIN payloads USING (workflow_id, generation);

-- endBuild

INSERT /* endBuild */ INTO schedules (workflow_id, user_id, kind, state, generation,
  interval_minutes, next_run_at, wake_at)
SELECT id, user_id, kind, 'READY', generation, interval_minutes, now(), now() FROM workflows
WHERE id = $1 AND generation = $2 AND terminated_at IS NULL
ON CONFLICT (workflow_id) DO UPDATE SET state = 'READY', generation = excluded.generation,
  wake_at = now()
  WHERE schedules.state = 'BLOCKED';

SELECT /* endBuild */ FROM schedules WHERE workflow_id = $1 FOR UPDATE;

SELECT /* endBuild */ FROM workflows WHERE id = $1 FOR NO KEY UPDATE;

UPDATE /* endBuild */ builds SET status = $1, completed_at = now(), log_line_count = $2,
  lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
  image_id = $3,
  image_digest = $4,
  error = $5
WHERE id = $6 AND lease_token = $7 RETURNING generation;

UPDATE /* endBuild */ workflows SET build_status = $1, updated_at = now()
WHERE id = $2 AND generation = $3;

-- lockWorkflowsOf

SELECT /* lockWorkflowsOf */ FROM workflows WHERE id = ANY(ARRAY(SELECT workflow_id FROM builds WHERE id = ANY($1::uuid[])))
ORDER BY id FOR NO KEY UPDATE;

-- othersBuild

SELECT /* othersBuild */ FROM builds WHERE completed_at IS NULL AND status = 'STARTED'
  AND lease_expires_at > now() AND lease_owner <> $1 LIMIT 1;

-- releaseBuilds

WITH /* releaseBuilds */ released AS (
  UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
    lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL
  FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token) WHERE builds.id = u.id
    AND builds.lease_token = u.lease_token
  RETURNING builds.id, workflow_id, generation
), shown AS (
  UPDATE workflows SET build_status = 'QUEUED', updated_at = now() FROM released
  WHERE workflows.id = released.workflow_id AND workflows.generation = released.generation
)
SELECT id FROM released;

WITH /* releaseBuilds */ released AS (
  UPDATE builds SET status = 'QUEUED', uncounted_attempts = uncounted_attempts + $1,
    lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL
  FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token) WHERE builds.id = u.id
    AND builds.lease_token = u.lease_token AND (attempt - uncounted_attempts < $4)
  RETURNING builds.id, workflow_id, generation
), shown AS (
  UPDATE workflows SET build_status = 'QUEUED', updated_at = now() FROM released
  WHERE workflows.id = released.workflow_id AND workflows.generation = released.generation
)
SELECT id FROM released;

-- renewBuildLeases

UPDATE /* renewBuildLeases */ builds SET lease_expires_at = clock_timestamp() + make_interval(secs => $1) FROM unnest($2::uuid[], $3::uuid[]) AS u (id, lease_token)
WHERE builds.id = u.id AND builds.lease_token = u.lease_token RETURNING builds.id;

-- sweepBuilds

SELECT /* sweepBuilds */ FROM schedules WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id FOR UPDATE;

SELECT /* sweepBuilds */ FROM workflows WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

SELECT /* sweepBuilds */ id FROM builds WHERE completed_at IS NULL AND status = 'QUEUED'
AND NOT EXISTS (SELECT FROM turns WHERE turns.id = builds.id)
AND coalesce(started_at, created_at) < now() - make_interval(secs => $1) ORDER BY id LIMIT $2;

SELECT /* sweepBuilds */ id, workflow_id FROM builds WHERE completed_at IS NULL
  AND status = 'STARTED' AND lease_expires_at < now()
ORDER BY id LIMIT $1;

WITH /* sweepBuilds */ locked AS MATERIALIZED (
  SELECT id FROM builds WHERE id = ANY($1::uuid[]) AND status = 'STARTED'
    AND lease_expires_at < now()
  ORDER BY id FOR UPDATE
), swept AS (
  UPDATE builds SET lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL,
    status = CASE WHEN (attempt - uncounted_attempts < $2) THEN 'QUEUED' ELSE 'FAILED' END,
    completed_at = CASE WHEN (attempt - uncounted_attempts < $3) THEN NULL ELSE now() END,
    error = CASE WHEN (attempt - uncounted_attempts < $4) THEN NULL
      ELSE 'The worker that built it was lost,
        and so was each one that tried again. Update the payload to try once more.' END,
    log_line_count = (SELECT coalesce(max(last_number),
      0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], builds.id))),
    log_open = NOT (attempt - uncounted_attempts < $5)
  FROM locked WHERE builds.id = locked.id
  RETURNING workflow_id, generation, status, error
), shown AS (
  UPDATE workflows SET build_status = swept.status, updated_at = now() FROM swept
  WHERE workflows.id = swept.workflow_id AND workflows.generation = swept.generation
)
SELECT workflow_id, status, error FROM swept;
