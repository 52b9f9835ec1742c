-- db/payloads.ts

-- generationsInUse

SELECT /* generationsInUse */ last_job_id AS id FROM schedules WHERE workflow_id = ANY($1::uuid[]) AND last_job_id IS NOT NULL
UNION ALL SELECT job_id FROM run_requests WHERE workflow_id = ANY($2::uuid[]);

SELECT /* generationsInUse */ workflow_id,
  generation FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]) AND completed_at IS NULL;

-- loadPayloads

SELECT /* loadPayloads */ p.workflow_id, p.generation, p.payload, b.image_id, b.image_digest,
  b.engine_id
FROM unnest($1::uuid[], $2::integer[]) AS u (workflow_id, generation)
  JOIN payloads p ON p.workflow_id = u.workflow_id AND p.generation = u.generation
  LEFT JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation;

-- pruneGenerations

DELETE /* pruneGenerations */ FROM payloads WHERE workflow_id = $1 AND generation < $2
AND generation <> ALL($3::integer[])
AND generation NOT IN (SELECT schedules.generation FROM schedules WHERE schedules.workflow_id = $4 AND state = 'READY');
