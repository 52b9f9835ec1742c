-- db/workflows/purge.ts

-- purgeDeleted

UPDATE /* purgeDeleted */ workflows SET purge_requested_at = now() WHERE purge_requested_at IS NULL AND id = ANY(ARRAY(
SELECT id FROM workflows WHERE purge_requested_at IS NULL
  AND deleted_at <= now() - make_interval(days => $1)
ORDER BY deleted_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)) RETURNING 1;

-- purgeRest

DELETE /* purgeRest */ FROM builds USING unnest($1::uuid[]) AS u (id) WHERE builds.id = u.id;

DELETE /* purgeRest */ FROM run_requests WHERE workflow_id = $1;

DELETE /* purgeRest */ FROM workflows WHERE id = $1;

SELECT /* purgeRest */ id FROM builds WHERE workflow_id = $1 ORDER BY id LIMIT $2;

-- purgeSome

DELETE /* purgeSome */ FROM jobs USING unnest($1::uuid[]) AS u (id) WHERE jobs.id = u.id;

SELECT /* purgeSome */ id FROM jobs WHERE workflow_id = $1 ORDER BY id LIMIT $2;

SELECT /* purgeSome */ id FROM workflows WHERE purge_requested_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM schedules WHERE workflow_id = workflows.id)
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;
