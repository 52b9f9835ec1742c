-- Workers report a sign of life, with the engine that they use. So anybody sees which workers live, and a workflow worker knows which other engines
-- it can leave a job to. A turn says which engines passed it by, a build which engine found or made its image, and a job which of its attempts was
-- lost without a last line. Old processes write none of this: their engines are then unknown, and the columns stay empty.
-- Locks for a moment: turns (ACCESS EXCLUSIVE), builds (ACCESS EXCLUSIVE), jobs (ACCESS EXCLUSIVE). The new columns are empty, so no row is rewritten.

-- part: makes the table of workers, which are written every few seconds and have no index beside their key
CREATE TABLE workers (
  owner text NOT NULL,
  name text NOT NULL CHECK (name IN ('scheduling', 'execution', 'workflow', 'joblogs')),
  version text NOT NULL,
  host text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(),
  stopped_at timestamptz,
  engine_id text,
  engine_seen_at timestamptz,
  PRIMARY KEY (owner, name),
  CHECK ((engine_id IS NULL) = (engine_seen_at IS NULL))
) WITH (fillfactor = 50);

-- part: adds to turns which engines passed them by, until when, and what they wait for
ALTER TABLE turns ADD COLUMN passed_by jsonb;
ALTER TABLE turns ADD COLUMN waits_for text;

-- part: adds the engine of builds
ALTER TABLE builds ADD COLUMN engine_id text;

-- part: adds the lost attempt of jobs
ALTER TABLE jobs ADD COLUMN lost_attempt integer;
