-- db/alerts/incidents.ts

-- alertUnmuted

SELECT /* alertUnmuted */ w.id FROM incidents i JOIN workflows w ON w.id = ANY(ARRAY[i.workflow_id])
WHERE i.resolved_at IS NULL AND i.alerted_at IS NULL AND (w.muted_until > now()) IS NOT TRUE
ORDER BY w.id LIMIT $1 FOR NO KEY UPDATE OF w SKIP LOCKED;

UPDATE /* alertUnmuted */ incidents SET alerted_at = now() FROM workflows w
WHERE incidents.workflow_id = ANY($1::uuid[]) AND w.id = ANY(ARRAY[incidents.workflow_id])
  AND incidents.resolved_at IS NULL AND incidents.alerted_at IS NULL
    AND (w.muted_until > now()) IS NOT TRUE
RETURNING incidents.id, incidents.workflow_id, incidents.job_id;

-- countInIncidents

WITH /* countInIncidents */ u AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::boolean[],
    $6::boolean[], $7::boolean[]) AS u (workflow_id, user_id, job_id, failures, is_incident,
    is_muted, is_terminated)
), seen AS MATERIALIZED (
  SELECT u.*, open.id FROM u LEFT JOIN LATERAL (
    SELECT id FROM incidents WHERE workflow_id = u.workflow_id
      AND resolved_at IS NULL LIMIT 1) open ON true
), counted AS (
  UPDATE incidents SET failures = incidents.failures + 1,
    resolved_at = CASE WHEN is_terminated THEN now() END,
    resolution = CASE WHEN is_terminated THEN 'TERMINATED' END
  FROM seen WHERE incidents.id = ANY(ARRAY[seen.id])
  RETURNING incidents.id, incidents.workflow_id, alerted_at
), opened AS (
  INSERT INTO incidents (id, workflow_id, user_id, job_id, alerted_at, failures, resolved_at,
    resolution)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, workflow_id, user_id, job_id,
    CASE WHEN NOT is_muted THEN now() END, failures,
    CASE WHEN is_terminated THEN now() END, CASE WHEN is_terminated THEN 'TERMINATED' END
  FROM seen WHERE is_incident AND id IS NULL
  RETURNING id, workflow_id, alerted_at
)
SELECT id, workflow_id, false AS is_new, alerted_at IS NOT NULL AS alerted FROM counted
UNION ALL SELECT id, workflow_id, true, alerted_at IS NOT NULL FROM opened;

-- resolveIncidents

UPDATE /* resolveIncidents */ incidents SET resolved_at = now(), resolution = $1
WHERE workflow_id = ANY($2::uuid[]) AND resolved_at IS NULL
RETURNING id, workflow_id, alerted_at IS NOT NULL AS alerted;
