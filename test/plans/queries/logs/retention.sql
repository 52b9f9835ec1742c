-- db/logs/retention.ts

-- lookThrough

WITH /* lookThrough */ part AS MATERIALIZED (
  SELECT id, (completed_at IS NOT NULL
    AND completed_at <= now() - make_interval(days => $1)) AS gone FROM jobs_20261129 AS jobs
  WHERE id > $2 AND id < $3 ORDER BY id LIMIT $4
), kept AS (SELECT id FROM part WHERE NOT gone ORDER BY id LIMIT 1)
SELECT (SELECT count(*) FROM part)::integer AS count,
  (SELECT id FROM kept) AS kept,
  (SELECT id FROM part WHERE id < coalesce((SELECT id FROM kept),
    $5) ORDER BY id DESC LIMIT 1) AS passed,
  EXISTS (SELECT FROM builds WHERE id >= $6 AND id < $7 AND NOT (completed_at IS NOT NULL
    AND completed_at <= now() - make_interval(days => $8))) AS build;

-- removeChunksOfWorkflows

SELECT /* removeChunksOfWorkflows */ id, log_retention_days AS days, greatest(logs_removed_to,
  (lpad(to_hex(greatest(0, extract(epoch FROM now() - make_interval(days => $1)) * 1000)::bigint),
  12, '0') || repeat('0', 20))::uuid) AS done
FROM workflows WHERE log_retention_days IS NOT NULL AND id > $2 ORDER BY id LIMIT $3;

UPDATE /* removeChunksOfWorkflows */ workflows SET logs_removed_to = u.last
FROM unnest($1::uuid[], $2::uuid[]) AS u (workflow,
  last) WHERE workflows.id = ANY(ARRAY[u.workflow]);

-- removeOldChunks

SELECT /* removeOldChunks */ id FROM builds WHERE id = ANY($1::uuid[])
  AND NOT (completed_at IS NOT NULL AND completed_at <= now() - make_interval(days => $2));

WITH RECURSIVE /* removeOldChunks */ source (id, n) AS ( -- the partition's ids, by one step of the index each, however many lines they have
  (SELECT source_id, 1 FROM "log_chunks_other" WHERE source_id > $1
    AND source_id < (lpad(to_hex(greatest(0,
    extract(epoch FROM now() - make_interval(days => $2)) * 1000)::bigint), 12, '0') || repeat('0',
    20))::uuid ORDER BY source_id LIMIT 1)
  UNION ALL
  SELECT following.source_id, n + 1 FROM source, LATERAL (
    SELECT source_id FROM "log_chunks_other" WHERE source_id > source.id
      AND source_id < (lpad(to_hex(greatest(0,
      extract(epoch FROM now() - make_interval(days => $3)) * 1000)::bigint), 12,
      '0') || repeat('0', 20))::uuid ORDER BY source_id LIMIT 1
  ) following WHERE n < $4
)
SELECT id FROM source ORDER BY n;
