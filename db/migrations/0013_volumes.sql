-- Volumes of users, and on which engines they are. Until now a volume was what the engine knew of it: nobody could list or remove one
-- without the engine, and a user could have any number. Volumes that present payloads name are noted here; what else lies on an engine is
-- noted by its workflow worker. Locks nothing but the new tables; reading the payloads takes seconds for a million of them.

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

INSERT INTO volumes (id, user_id, name)
  SELECT gen_random_uuid(), user_id, name FROM (
    SELECT DISTINCT w.user_id, v->>'name' AS name
    FROM workflows w
      JOIN payloads p ON p.workflow_id = w.id AND p.generation = w.generation
      CROSS JOIN LATERAL jsonb_array_elements(p.payload->'volumes') AS v
    WHERE w.kind = 'CONTAINER' AND w.terminated_at IS NULL AND jsonb_typeof(p.payload->'volumes') = 'array') AS named;
