-- Push heartbeats: workflows that wait for pings. What a ping needs is in a row of its own, so that schedules stays narrow.
-- Processes of the version before go on. They would take such a workflow for a check of the platform: stop them before the first one.
-- Locks for a moment: workflows (SHARE ROW EXCLUSIVE), jobs (ACCESS EXCLUSIVE), jobs_other (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading jobs once, ten seconds for ten million.

-- part: adds what pings need
CREATE TABLE pings (
  workflow_id uuid PRIMARY KEY REFERENCES workflows ON DELETE CASCADE,
  token_hash bytea NOT NULL UNIQUE, -- SHA-256
  token text NOT NULL, -- sealed, for the owner to read
  start_grace_seconds integer NOT NULL,
  run_grace_seconds integer NOT NULL,
  post_only boolean NOT NULL,
  started_at timestamptz, -- of the last run that said that it started
  start_rid uuid,
  ended_at timestamptz, -- when that run said that it ended
  given_up_at timestamptz, -- when a job failed because it had not ended in time
  log bytea NOT NULL DEFAULT '', -- lines for the log of the next job, in the form of log_chunks, not packed
  log_line_count integer NOT NULL DEFAULT 0,
  CHECK (started_at IS NOT NULL OR start_rid IS NULL AND ended_at IS NULL AND given_up_at IS NULL),
  CHECK ((log_line_count = 0) = (log = ''))
);

-- part: allows jobs that pings make
ALTER TABLE jobs DROP CONSTRAINT jobs_trigger_check,
  ADD CONSTRAINT jobs_trigger_check CHECK (trigger IN ('AUTOMATIC', 'MANUAL', 'PING')) NOT VALID;

-- part: checks the triggers of all jobs
ALTER TABLE jobs VALIDATE CONSTRAINT jobs_trigger_check;
