-- db/payloads.ts

-- loadPayloads

SELECT /* loadPayloads */ p.workflow_id, p.generation, p.payload, b.image_id, b.image_digest,
  b.engine_id
FROM unnest($1::uuid[], $2::integer[]) AS u (workflow_id, generation)
  JOIN payloads p ON p.workflow_id = u.workflow_id AND p.generation = u.generation
  LEFT JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation;

-- pruneGenerations

DELETE /* pruneGenerations */ FROM payloads WHERE workflow_id = $1 AND generation < $2
  AND generation NOT IN (
SELECT schedules.generation FROM schedules WHERE schedules.workflow_id = $3 AND state = 'READY'
UNION ALL
SELECT jobs.generation FROM schedules JOIN jobs ON jobs.id = last_job_id
WHERE schedules.workflow_id = $4 AND jobs.completed_at IS NULL
UNION ALL
SELECT jobs.generation FROM run_requests JOIN jobs ON jobs.id = job_id WHERE run_requests.workflow_id = $5);
