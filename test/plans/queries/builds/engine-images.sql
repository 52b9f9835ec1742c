-- db/builds/engine-images.ts

-- engineImages

SELECT /* engineImages */ image_id, names,
  pulled_at::text AS version FROM engine_images WHERE engine_id = $1;

-- forgetEngineImages

DELETE /* forgetEngineImages */ FROM engine_images WHERE ctid = ANY(ARRAY(
SELECT e.ctid FROM unnest($1::text[], $2::text[]) AS u (image_id, version)
  JOIN engine_images e ON e.engine_id = $3 AND e.image_id = u.image_id
WHERE e.pulled_at = u.version::timestamptz ORDER BY e.image_id FOR UPDATE OF e SKIP LOCKED));

-- forgetImageNames

UPDATE /* forgetImageNames */ engine_images
SET names = ARRAY(SELECT unnest(names) EXCEPT SELECT unnest($1::text[]) ORDER BY 1)
WHERE engine_id = $2 AND image_id = $3 AND pulled_at = $4::timestamptz;

-- isImageNeeded

SELECT /* isImageNeeded */ FROM builds b JOIN workflows w ON w.id = b.workflow_id
WHERE b.image_id = $1 AND (w.generation = b.generation AND w.terminated_at IS NULL
  AND b.status IN ('QUEUED', 'STARTED', 'COMPLETED')
  OR EXISTS (SELECT FROM schedules s WHERE s.workflow_id = w.id AND s.state = 'READY'
    AND s.generation = b.generation OFFSET 0)) LIMIT 1;

SELECT /* isImageNeeded */ b.workflow_id, b.generation FROM builds b WHERE b.image_id = $1;

-- noteEngineImage

INSERT /* noteEngineImage */ INTO engine_images (engine_id, image_id, names) VALUES ($1, $2,
  $3::text[])
ON CONFLICT (engine_id, image_id) DO UPDATE SET pulled_at = now(), last_used_at = now(),
  look_at = now(),
  names = ARRAY(SELECT unnest(engine_images.names) UNION SELECT unnest(excluded.names) ORDER BY 1);

UPDATE /* noteEngineImage */ engine_images SET pulled_at = now(), last_used_at = now(),
  names = ARRAY(SELECT unnest(names) UNION SELECT unnest($1::text[]) ORDER BY 1)
WHERE engine_id = $2 AND image_id = $3;

-- noteImageUse

UPDATE /* noteImageUse */ engine_images SET last_used_at = now()
WHERE engine_id = $1 AND image_id = $2
  AND last_used_at < now() - make_interval(mins => $3);

-- removeUnusedImage

DELETE /* removeUnusedImage */ FROM engine_images WHERE engine_id = $1 AND image_id = $2;

SELECT /* removeUnusedImage */ names FROM engine_images
WHERE engine_id = $1 AND image_id = $2 AND last_used_at < now() - make_interval(days => $3)
FOR UPDATE SKIP LOCKED;

UPDATE /* removeUnusedImage */ engine_images SET look_at = now() + make_interval(mins => $1)
WHERE engine_id = $2 AND image_id = $3;

-- unusedImages

SELECT /* unusedImages */ image_id FROM engine_images
WHERE engine_id = $1 AND last_used_at < now() - make_interval(days => $2) AND look_at <= now()
ORDER BY look_at, image_id LIMIT $3;

-- waitingSources

SELECT /* waitingSources */ p.payload->>'image' AS image,
  p.payload->'build'->>'dockerfile' AS dockerfile
FROM builds b JOIN payloads p ON p.workflow_id = b.workflow_id AND p.generation = b.generation
WHERE b.completed_at IS NULL LIMIT $1;
