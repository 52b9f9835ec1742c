-- Fair shares. Turns say who is next where slots are few (db/turns.ts); what was QUEUED before gets its turn when the scheduling worker
-- sends its event again, within a minute. Requested jobs carry their user and kind, so that a user's limits are counted without reading jobs
-- (payloads carry their size: 0018). Generations of payloads that nothing needs any more go; from now on an update removes them.
-- Locks for a moment: run_requests (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading run_requests, workflows with the keys of their payloads, and builds for an index; a minute for a million workflows.
-- An api of the version before can request no more runs when run_requests has its new columns for good: restart it soon.

-- part: makes the turns
CREATE TABLE turns (
  id uuid PRIMARY KEY, -- a job or a build
  kind text NOT NULL CHECK (kind IN ('CONTAINER', 'BUILD')),
  user_id uuid NOT NULL,
  round bigint NOT NULL
);
CREATE INDEX turns_next ON turns (kind, round, id);
CREATE INDEX turns_user ON turns (kind, user_id, round);

-- part: adds the user and the kind of requested jobs
ALTER TABLE run_requests ADD COLUMN user_id uuid, ADD COLUMN kind text;
-- For processes of the version before, until the rows that they have written are filled.
CREATE FUNCTION fill_run_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SELECT user_id, kind INTO NEW.user_id, NEW.kind FROM workflows WHERE id = NEW.workflow_id;
  RETURN NEW;
END $$;
CREATE TRIGGER run_requests_fill BEFORE INSERT ON run_requests
  FOR EACH ROW WHEN (NEW.user_id IS NULL) EXECUTE FUNCTION fill_run_request();

-- steps: fills the user and the kind of requested jobs
WITH step AS MATERIALIZED (
  SELECT job_id FROM run_requests WHERE job_id > $1::uuid ORDER BY job_id LIMIT $2
), gone AS (
  DELETE FROM run_requests USING step
  WHERE run_requests.job_id = step.job_id AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = step.job_id)
), filled AS (
  UPDATE run_requests SET user_id = jobs.user_id, kind = jobs.kind FROM step JOIN jobs ON jobs.id = step.job_id
  WHERE run_requests.job_id = step.job_id AND run_requests.user_id IS NULL
)
SELECT job_id AS position FROM step ORDER BY job_id DESC LIMIT 1;

-- part: requires them of new rows
ALTER TABLE run_requests ADD CONSTRAINT run_requests_filled CHECK (user_id IS NOT NULL AND kind IS NOT NULL) NOT VALID;

-- part: checks that all rows have them
ALTER TABLE run_requests VALIDATE CONSTRAINT run_requests_filled;

-- part: requires them for good
ALTER TABLE run_requests ALTER COLUMN user_id SET NOT NULL, ALTER COLUMN kind SET NOT NULL; -- reads no row: the check says it
ALTER TABLE run_requests DROP CONSTRAINT run_requests_filled;
DROP TRIGGER run_requests_fill ON run_requests;
DROP FUNCTION fill_run_request;

-- index: counts the requested jobs of a user
CREATE INDEX CONCURRENTLY IF NOT EXISTS run_requests_user ON run_requests (user_id, kind);

-- steps: removes generations of payloads that nothing needs
WITH step AS MATERIALIZED (
  SELECT id, generation FROM workflows WHERE id > $1::uuid ORDER BY id LIMIT $2
), gone AS (
  DELETE FROM payloads USING step
  WHERE payloads.workflow_id = step.id AND payloads.generation < step.generation
    AND NOT EXISTS (SELECT FROM schedules JOIN jobs ON jobs.id = schedules.last_job_id
      WHERE schedules.workflow_id = step.id AND jobs.generation = payloads.generation AND jobs.completed_at IS NULL)
    AND NOT EXISTS (SELECT FROM run_requests JOIN jobs ON jobs.id = run_requests.job_id
      WHERE run_requests.workflow_id = step.id AND jobs.generation = payloads.generation)
    AND NOT EXISTS (SELECT FROM builds
      WHERE builds.workflow_id = step.id AND builds.generation = payloads.generation AND builds.completed_at IS NULL)
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- index: counts the builds of a user
CREATE INDEX CONCURRENTLY IF NOT EXISTS builds_user_unfinished ON builds (user_id) WHERE completed_at IS NULL;
