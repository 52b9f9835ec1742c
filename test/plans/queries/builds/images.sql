-- db/builds/images.ts

-- beginPrivatePull

INSERT /* beginPrivatePull */ INTO private_pulls (puller, image, repository, engine_id,
  image_id_before)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- endedPrivatePulls

SELECT /* endedPrivatePulls */ id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
AND (completed_at IS NULL OR completed_at >= now() - make_interval(mins => $2));

SELECT /* endedPrivatePulls */ puller, image, repository FROM private_pulls p
WHERE engine_id = $1 AND started_at < now() - make_interval(mins => $2)
  AND NOT EXISTS (SELECT FROM builds WHERE id = ANY(ARRAY[p.puller])
    AND (completed_at IS NULL OR completed_at >= now() - make_interval(mins => $3)))
ORDER BY started_at;

-- neededGenerations

SELECT /* neededGenerations */ b.workflow_id, b.generation, b.image_id,
  w.generation = b.generation AND w.terminated_at IS NULL AND b.status IN ('QUEUED', 'STARTED',
  'COMPLETED')
  OR EXISTS (SELECT FROM schedules s WHERE s.workflow_id = w.id AND s.state = 'READY'
    AND s.generation = b.generation OFFSET 0) AS needed
FROM unnest($1::uuid[], $2::integer[]) AS u (workflow_id, generation)
  JOIN builds b ON b.workflow_id = u.workflow_id AND b.generation = u.generation
  JOIN workflows w ON w.id = u.workflow_id;

-- notePulledImage

WITH /* notePulledImage */ noted AS (
  INSERT INTO pulled_images (user_id, image_id, image) VALUES ($1, $2, $3)
  ON CONFLICT (user_id, image_id, image) DO UPDATE SET pulled_at = now()
)
DELETE FROM pulled_images p USING (
  SELECT image_id, image FROM pulled_images
  WHERE user_id = $4 AND (image_id, image) <> ($5, $6)
  ORDER BY pulled_at DESC OFFSET $7 FOR UPDATE SKIP LOCKED) old
WHERE p.user_id = $8 AND p.image_id = old.image_id AND p.image = old.image;

-- privateNames

SELECT /* privateNames */ image FROM private_images WHERE image_id = $1
UNION ALL
SELECT image FROM private_pulls
WHERE repository = $2 AND image_id_before IS DISTINCT FROM $3
  AND ($4 OR image IN ($5, $6));

-- settlePrivatePull

WITH /* settlePrivatePull */ settled AS (
  DELETE FROM private_pulls WHERE puller = $1 AND image = $2 AND engine_id = $3
  RETURNING image_id_before
)
INSERT INTO private_images (image_id, image)
  SELECT $4::text, $5 FROM settled
  WHERE $6::text IS NOT NULL AND image_id_before IS DISTINCT FROM $7::text
ON CONFLICT DO NOTHING;

-- wasPulledFor

SELECT /* wasPulledFor */ FROM pulled_images WHERE user_id = $1 AND image_id = $2 AND image = $3;

-- workflowsBuilding

SELECT /* workflowsBuilding */ DISTINCT workflow_id AS id FROM builds
WHERE workflow_id = ANY($1::uuid[]) AND completed_at IS NULL AND status = 'STARTED';
