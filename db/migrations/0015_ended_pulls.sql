-- A pull with a login that was cancelled kept its note for good, and its note stood for the whole repository: one user took an operator's
-- LOCAL_IMAGES for that repository from all others. A note now names the image and the engine, so that a worker of that engine can settle it
-- after its build or job has ended. Notes from before keep standing for their repository.
-- Locks for a moment: private_pulls (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading private_pulls some times. It has a row for each pull that is under way or was cancelled: milliseconds.
-- A worker of the version before can begin no more pulls with a login when the key is another: restart it soon.

-- part: adds the repository and the engine of a pull
ALTER TABLE private_pulls ADD COLUMN repository text, ADD COLUMN engine_id text NOT NULL DEFAULT '';
-- For processes of the version before, until the rows that they have written are filled.
CREATE FUNCTION fill_private_pull() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.repository := NEW.image;
  RETURN NEW;
END $$;
CREATE TRIGGER private_pulls_fill BEFORE INSERT ON private_pulls
  FOR EACH ROW WHEN (NEW.repository IS NULL) EXECUTE FUNCTION fill_private_pull();

-- steps: fills the repository of pulls
WITH step AS MATERIALIZED (
  SELECT DISTINCT puller FROM private_pulls WHERE puller > $1::uuid ORDER BY puller LIMIT $2
), filled AS (
  UPDATE private_pulls SET repository = image FROM step WHERE private_pulls.puller = step.puller AND repository IS NULL
)
SELECT puller AS position FROM step ORDER BY puller DESC LIMIT 1;

-- part: requires the repository of new rows
ALTER TABLE private_pulls ADD CONSTRAINT private_pulls_filled CHECK (repository IS NOT NULL) NOT VALID;

-- part: checks that all rows have it
ALTER TABLE private_pulls VALIDATE CONSTRAINT private_pulls_filled;

-- index: makes the key with the engine
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS private_pulls_key ON private_pulls (puller, image, engine_id);

-- part: requires the repository for good, and takes the key with the engine
ALTER TABLE private_pulls ALTER COLUMN repository SET NOT NULL; -- reads no row: the check says it
ALTER TABLE private_pulls
  DROP CONSTRAINT private_pulls_filled,
  DROP CONSTRAINT private_pulls_pkey,
  ADD CONSTRAINT private_pulls_pkey PRIMARY KEY USING INDEX private_pulls_key;
DROP TRIGGER private_pulls_fill ON private_pulls;
DROP FUNCTION fill_private_pull;

-- index: finds the pulls of a repository
CREATE INDEX CONCURRENTLY IF NOT EXISTS private_pulls_repository ON private_pulls (repository);

-- index: finds the pulls of an engine
CREATE INDEX CONCURRENTLY IF NOT EXISTS private_pulls_engine ON private_pulls (engine_id, started_at);
