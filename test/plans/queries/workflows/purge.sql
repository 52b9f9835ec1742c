-- db/workflows/purge.ts

-- firstJobs

SELECT /* firstJobs */ id FROM ((SELECT id FROM jobs_other AS jobs WHERE workflow_id = $1
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $2)) AS jobs;

SELECT /* firstJobs */ id FROM (SELECT * FROM ((SELECT id FROM jobs_20261129 AS jobs WHERE workflow_id = $1 ORDER BY id ASC LIMIT $2) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE workflow_id = $3 ORDER BY id ASC LIMIT $4) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE workflow_id = $5 ORDER BY id ASC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE workflow_id = $7 ORDER BY id ASC LIMIT $8) UNION ALL (SELECT id FROM jobs_other AS jobs WHERE workflow_id = $9 AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $10)) AS jobs ORDER BY id ASC LIMIT $11) AS jobs;

-- purgeDeleted

UPDATE /* purgeDeleted */ workflows SET purge_requested_at = now() WHERE purge_requested_at IS NULL AND id = ANY(ARRAY(
SELECT id FROM workflows WHERE purge_requested_at IS NULL
  AND deleted_at <= now() - make_interval(days => $1)
ORDER BY deleted_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)) RETURNING 1;

-- purgeRest

DELETE /* purgeRest */ FROM builds USING unnest($1::uuid[]) AS u (id) WHERE builds.id = ANY(ARRAY[u.id]);

DELETE /* purgeRest */ FROM run_requests WHERE workflow_id = $1;

DELETE /* purgeRest */ FROM workflows WHERE id = $1;

SELECT /* purgeRest */ id FROM builds WHERE workflow_id = $1 ORDER BY id LIMIT $2;

-- purgeSome

DELETE /* purgeSome */ FROM jobs_20261129 AS jobs USING unnest($1::uuid[]) AS u (id) WHERE jobs.id = ANY(ARRAY[u.id]);

SELECT /* purgeSome */ id FROM workflows WHERE purge_requested_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM schedules WHERE workflow_id = workflows.id)
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED;
