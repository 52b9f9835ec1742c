-- db/volumes.ts

-- countVolumes

select count(*)::integer
from (select 1 as "one"
from "volumes"
where ("volumes"."user_id" = $1 and "volumes"."delete_requested_at" is null)
limit $2) "counted" /* countVolumes */;

-- deleteVolume

SELECT /* deleteVolume */ id FROM volumes WHERE user_id = $1 AND name = $2 FOR UPDATE;

SELECT /* deleteVolume */ w.id, p.generation, p.generation = w.generation
  AND w.terminated_at IS NULL AS current
FROM workflows w, LATERAL (
  SELECT generation FROM payloads p WHERE p.workflow_id = w.id AND p.payload @> $1::jsonb
  OFFSET 0) p -- a fence: stale statistics make the planner begin with everybody's payloads
WHERE w.user_id = $2 AND w.kind = 'CONTAINER';

UPDATE /* deleteVolume */ volumes SET delete_requested_at = coalesce(delete_requested_at,
  now()) WHERE id = $1;

-- forgetCopies

WITH /* forgetCopies */ locked AS MATERIALIZED (
  SELECT c.volume_id FROM unnest($1::uuid[], $2::text[]) AS u (user_id, name)
    CROSS JOIN LATERAL (SELECT id FROM volumes WHERE user_id = u.user_id
      AND name = u.name LIMIT 1) v
    JOIN volume_copies c ON c.volume_id = ANY(ARRAY[v.id]) AND c.engine_id = $3
  ORDER BY v.id FOR UPDATE OF c
)
DELETE FROM volume_copies USING locked WHERE engine_id = $4
  AND volume_copies.volume_id = ANY(ARRAY[locked.volume_id]);

-- listVolumes

select "id", "name", "created_at",
  (SELECT sum(size_bytes)::float8 FROM volume_copies WHERE volume_id = volumes.id),
  (SELECT max(last_used_at) FROM volume_copies WHERE volume_id = volumes.id)
from "volumes"
where ("volumes"."user_id" = $1 and "volumes"."delete_requested_at" is null)
order by "volumes"."id" desc
limit $2;

select "id", "name", "created_at",
  (SELECT sum(size_bytes)::float8 FROM volume_copies WHERE volume_id = volumes.id),
  (SELECT max(last_used_at) FROM volume_copies WHERE volume_id = volumes.id)
from "volumes"
where (("volumes"."user_id" = $1 and "volumes"."delete_requested_at" is null)
  and "volumes"."id" > $2)
order by "volumes"."id" asc
limit $3;

-- noteFoundVolumes

DELETE /* noteFoundVolumes */ FROM volume_copies
WHERE engine_id = $1
  AND volume_id <> ALL($2::uuid[])
  AND coalesce(last_used_at < now() - make_interval(mins => $3), true)
RETURNING volume_id;

INSERT /* noteFoundVolumes */ INTO volume_copies (volume_id, engine_id, size_bytes)
SELECT v.id, $1, u.size_bytes::bigint
FROM unnest($2::uuid[], $3::text[], $4::double precision[]) AS u (user_id, name, size_bytes)
  CROSS JOIN LATERAL (SELECT id FROM volumes WHERE user_id = u.user_id AND name = u.name LIMIT 1) v
ORDER BY v.id
ON CONFLICT (engine_id, volume_id) DO UPDATE SET size_bytes = coalesce(excluded.size_bytes,
  volume_copies.size_bytes)
RETURNING volume_id;

INSERT /* noteFoundVolumes */ INTO volumes (id, user_id, name)
SELECT u.id, u.user_id, u.name FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS u (id, user_id,
  name)
  CROSS JOIN LATERAL (SELECT FROM users WHERE users.id = u.user_id LIMIT 1) known -- by key, whatever the statistics say
ORDER BY u.user_id, u.name
ON CONFLICT DO NOTHING;

-- noteVolumeUse

WITH /* noteVolumeUse */ kept AS (
  SELECT id, name FROM volumes
  WHERE user_id = $1 AND name = ANY($2::text[]) AND delete_requested_at IS NULL
), noted AS (
  INSERT INTO volume_copies (volume_id, engine_id, last_used_at)
  SELECT id, $3, now() FROM kept ORDER BY id
  ON CONFLICT (engine_id, volume_id) DO UPDATE SET last_used_at = now()
)
SELECT name FROM kept;

-- placeVolumes

SELECT /* placeVolumes */ FROM volumes WHERE id = ANY(ARRAY(
  SELECT id FROM volumes WHERE user_id = $1 AND name = ANY($2::text[])))
ORDER BY id FOR NO KEY UPDATE;

-- placesOfVolumes

SELECT /* placesOfVolumes */ name, engines FROM volumes, LATERAL (
  SELECT array_agg(engine_id ORDER BY engine_id) AS engines FROM volume_copies WHERE volume_id = volumes.id) copies
WHERE user_id = $1 AND name = ANY($2::text[]) AND engines IS NOT NULL ORDER BY name;

-- removeForgotten

WITH /* removeForgotten */ locked AS MATERIALIZED (
  SELECT id FROM volumes WHERE id = ANY($1::uuid[])
    AND delete_requested_at IS NOT NULL ORDER BY id FOR UPDATE
)
DELETE FROM volumes USING locked WHERE volumes.id = ANY(ARRAY[locked.id])
  AND NOT EXISTS (SELECT FROM volume_copies WHERE volume_id = ANY(ARRAY[volumes.id]));

-- reserveVolumes

INSERT /* reserveVolumes */ INTO volumes (id, user_id, name)
SELECT id, $1, name FROM unnest($2::uuid[], $3::text[]) AS u (id, name)
ON CONFLICT DO NOTHING RETURNING 1;

SELECT /* reserveVolumes */ name FROM volumes
WHERE user_id = $1 AND name = ANY($2::text[]) AND delete_requested_at IS NOT NULL LIMIT 1;

-- unwantedVolumes

SELECT /* unwantedVolumes */ v.id, v.user_id,
  v.name FROM volumes v JOIN volume_copies c ON c.volume_id = v.id AND c.engine_id = $1
WHERE v.delete_requested_at IS NOT NULL AND v.id > $2 ORDER BY v.id LIMIT $3;

-- volumesRemoved

WITH /* volumesRemoved */ locked AS MATERIALIZED (
  SELECT volume_id FROM volume_copies WHERE engine_id = $1 AND volume_id = ANY($2::uuid[])
  ORDER BY volume_id FOR UPDATE
)
DELETE FROM volume_copies USING locked WHERE engine_id = $3
  AND volume_copies.volume_id = ANY(ARRAY[locked.volume_id]);

-- workflowsByVolume

SELECT /* workflowsByVolume */ name, (array_agg(id ORDER BY id DESC))[:$1] AS ids FROM (
  SELECT DISTINCT v->>'name' AS name, w.id
  FROM workflows w
    JOIN payloads p ON p.workflow_id = w.id AND p.generation = w.generation
    CROSS JOIN LATERAL jsonb_array_elements(p.payload->'volumes') AS v
  WHERE w.user_id = $2 AND w.kind = 'CONTAINER' AND w.terminated_at IS NULL) AS named
WHERE name = ANY($3::text[]) GROUP BY name;
