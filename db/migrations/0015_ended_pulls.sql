-- A pull with a login that was cancelled kept its note for good, and its note stood for the whole repository: one user took an operator's
-- LOCAL_IMAGES for that repository from all others. A note now names the image and the engine, so that a worker of that engine can settle it
-- after its build or job has ended. Notes from before keep standing for their repository. Rewrites private_pulls, which has the pulls that
-- are under way: milliseconds.

ALTER TABLE private_pulls ADD COLUMN repository text, ADD COLUMN engine_id text NOT NULL DEFAULT '';
UPDATE private_pulls SET repository = image;
ALTER TABLE private_pulls
  ALTER COLUMN repository SET NOT NULL,
  DROP CONSTRAINT private_pulls_pkey,
  ADD PRIMARY KEY (puller, image, engine_id);
CREATE INDEX private_pulls_repository ON private_pulls (repository);
CREATE INDEX private_pulls_engine ON private_pulls (engine_id, started_at);
