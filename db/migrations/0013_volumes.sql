-- Volumes of users, and on which engines they are. Until now a volume was what the engine knew of it: nobody could list or remove one
-- without the engine, and a user could have any number. Volumes that present payloads name are noted here; what else lies on an engine is
-- noted by its workflow worker.
-- Locks for a moment: users (SHARE ROW EXCLUSIVE), for a foreign key of an empty table.
-- Takes, and blocks nobody: reading each workflow with its payload, a minute for a million.

-- part: makes the tables
CREATE TABLE volumes (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  delete_requested_at timestamptz, -- no payload may name it from then on; it goes when no engine has it any more
  UNIQUE (user_id, name)
);
CREATE INDEX volumes_delete_requested ON volumes (id) WHERE delete_requested_at IS NOT NULL;

CREATE TABLE volume_copies (
  volume_id uuid NOT NULL REFERENCES volumes ON DELETE CASCADE,
  engine_id text NOT NULL,
  size_bytes bigint,
  last_used_at timestamptz,
  PRIMARY KEY (engine_id, volume_id)
);
CREATE INDEX volume_copies_volume ON volume_copies (volume_id);

-- steps: notes the volumes that payloads name
WITH step AS MATERIALIZED (
  SELECT id, user_id, generation, kind, terminated_at FROM workflows WHERE id > $1::uuid ORDER BY id LIMIT $2
), noted AS (
  INSERT INTO volumes (id, user_id, name)
  SELECT gen_random_uuid(), user_id, name FROM (
    SELECT DISTINCT step.user_id, v->>'name' AS name
    FROM step
      JOIN payloads p ON p.workflow_id = step.id AND p.generation = step.generation
      CROSS JOIN LATERAL jsonb_array_elements(
        CASE WHEN jsonb_typeof(p.payload->'volumes') = 'array' THEN p.payload->'volumes' ELSE '[]' END) AS v
    WHERE step.kind = 'CONTAINER' AND step.terminated_at IS NULL) AS named
  ON CONFLICT (user_id, name) DO NOTHING
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;
