-- db/jobs/turns.ts

-- enterTurns

SELECT /* enterTurns */ pg_advisory_xact_lock(hashtext($1));

WITH /* enterTurns */ entering AS (
  SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth
  FROM (SELECT id, user_id FROM builds AS builds WHERE id = ANY($1::uuid[])
    AND status = 'QUEUED') queued
  WHERE (SELECT id FROM turns WHERE turns.id = queued.id) IS NULL -- for each by its key
)
INSERT INTO turns (id, kind, user_id, round, passed_by, waits_for)
SELECT id, $2, user_id, coalesce($3::bigint, nth + greatest(
  (SELECT round FROM turn_rounds WHERE kind = $4) - 1,
  coalesce((SELECT max(round) FROM turns WHERE kind = $5 AND turns.user_id = entering.user_id),
    0))),
  NULL, $6
FROM entering ORDER BY id ON CONFLICT DO NOTHING;

WITH /* enterTurns */ entering AS (
  SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth
  FROM (SELECT id, user_id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
    AND status = 'QUEUED') queued
  WHERE (SELECT id FROM turns WHERE turns.id = queued.id) IS NULL -- for each by its key
)
INSERT INTO turns (id, kind, user_id, round, passed_by, waits_for)
SELECT id, $2, user_id, coalesce($3::bigint, nth + greatest(
  (SELECT round FROM turn_rounds WHERE kind = $4) - 1,
  coalesce((SELECT max(round) FROM turns WHERE kind = $5 AND turns.user_id = entering.user_id),
    0))),
  $6::jsonb || jsonb_build_object($7::text, extract(epoch FROM clock_timestamp()) + $8::float8), $9
FROM entering ORDER BY id ON CONFLICT DO NOTHING;

WITH /* enterTurns */ entering AS (
  SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth
  FROM (SELECT id, user_id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
    AND status = 'QUEUED') queued
  WHERE (SELECT id FROM turns WHERE turns.id = queued.id) IS NULL -- for each by its key
)
INSERT INTO turns (id, kind, user_id, round, passed_by, waits_for)
SELECT id, $2, user_id, coalesce($3::bigint, nth + greatest(
  (SELECT round FROM turn_rounds WHERE kind = $4) - 1,
  coalesce((SELECT max(round) FROM turns WHERE kind = $5 AND turns.user_id = entering.user_id),
    0))),
  NULL, $6
FROM entering ORDER BY id ON CONFLICT DO NOTHING;

-- hasTurn

SELECT /* hasTurn */ FROM turns WHERE id = $1;

-- passTurn

UPDATE /* passTurn */ turns SET passed_by = coalesce(passed_by,
  '{}'::jsonb) || jsonb_build_object($1::text, extract(epoch FROM clock_timestamp()) + $2::float8),
  waits_for = $3
WHERE id = $4;

-- peekTurn

SELECT /* peekTurn */ id FROM turns WHERE kind = $1 AND user_id <> ALL($2::uuid[]) ORDER BY round,
  id LIMIT 1;

-- peekTurnFor

SELECT /* peekTurnFor */ id, passed_by FROM turns WHERE kind = $1
  AND user_id <> ALL($2::uuid[]) AND (passed_by IS NULL OR coalesce((passed_by->>$3)::float8,
  0) <= extract(epoch FROM clock_timestamp())) ORDER BY round, id LIMIT 1;

-- removeTurns

DELETE /* removeTurns */ FROM turns WHERE id = ANY(ARRAY(
SELECT id FROM turns WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED)) RETURNING 1;

-- sweepTurns

SELECT /* sweepTurns */ id FROM builds AS builds WHERE id = ANY($1::uuid[]) AND status = 'QUEUED';

SELECT /* sweepTurns */ id FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[])
  AND status = 'QUEUED';

SELECT /* sweepTurns */ id FROM jobs_other AS jobs WHERE id = ANY($1::uuid[]) AND status = 'QUEUED';

SELECT /* sweepTurns */ id FROM turns WHERE id > $1 ORDER BY id LIMIT $2;

-- takeTurn

DELETE /* takeTurn */ FROM turns WHERE id = (SELECT id FROM turns WHERE id = $1 FOR UPDATE SKIP LOCKED)
RETURNING id, round, passed_by;

DELETE /* takeTurn */ FROM turns WHERE id = (SELECT id FROM turns WHERE kind = $1
  AND user_id <> ALL($2::uuid[]) ORDER BY round, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, round, passed_by;

UPDATE /* takeTurn */ turn_rounds SET round = $1 WHERE kind = $2 AND round < $3;

-- waitingOf

SELECT /* waitingOf */ workflow_id, user_id,
  generation FROM jobs_20261129 AS jobs WHERE id = $1 AND status = 'QUEUED';

SELECT /* waitingOf */ workflow_id, user_id, generation FROM builds AS builds WHERE id = $1
  AND status = 'QUEUED';

-- waitsOfTurns

SELECT /* waitsOfTurns */ id, waits_for FROM turns WHERE id = ANY($1::uuid[])
  AND waits_for IS NOT NULL;
