-- The first shape: accounts, workflows with their payloads and builds, schedules, jobs, log chunks. Locks nothing: all is new.

CREATE TABLE users (
  id uuid PRIMARY KEY,
  email text NOT NULL,
  password_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Sessions and API tokens alike: what is presented is compared by its SHA-256, the secret itself is nowhere.
CREATE TABLE tokens (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('SESSION', 'API')),
  name text,
  hash bytea NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz,
  expires_at timestamptz,
  CHECK ((kind = 'API') = (name IS NOT NULL)),
  CHECK (kind = 'API' OR expires_at IS NOT NULL)
);
CREATE INDEX tokens_user ON tokens (user_id, id);

CREATE TABLE workflows (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users,
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
  kind text NOT NULL CHECK (kind IN ('HEARTBEAT', 'CONTAINER')),
  interval_minutes integer NOT NULL CHECK (interval_minutes BETWEEN 1 AND 525600),
  max_consecutive_job_failures_allowed integer NOT NULL CHECK (max_consecutive_job_failures_allowed BETWEEN 1 AND 1000),
  consecutive_job_failures_count integer NOT NULL DEFAULT 0,
  generation integer NOT NULL DEFAULT 1,
  build_status text NOT NULL CHECK (build_status IN ('QUEUED', 'STARTED', 'COMPLETED', 'FAILED', 'CANCELED')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  terminated_at timestamptz,
  termination_reason text CHECK (termination_reason IN ('REQUESTED', 'FAILURES', 'DELETED')),
  deleted_at timestamptz,
  CHECK ((terminated_at IS NULL) = (termination_reason IS NULL)),
  CHECK (deleted_at IS NULL OR terminated_at IS NOT NULL)
);
CREATE INDEX workflows_user ON workflows (user_id, id);

-- One row a generation, so that a job that has started goes on with what it started with.
CREATE TABLE payloads (
  workflow_id uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
  generation integer NOT NULL,
  payload jsonb NOT NULL,
  PRIMARY KEY (workflow_id, generation)
);

CREATE TABLE builds (
  id uuid PRIMARY KEY,
  workflow_id uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
  user_id uuid NOT NULL,
  generation integer NOT NULL,
  status text NOT NULL CHECK (status IN ('QUEUED', 'STARTED', 'COMPLETED', 'FAILED', 'CANCELED')),
  attempt integer NOT NULL DEFAULT 0,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamptz,
  error text,
  image_id text,
  log_line_count integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  completed_at timestamptz,
  UNIQUE (workflow_id, generation),
  CHECK ((status = 'STARTED') = (lease_token IS NOT NULL)),
  CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELED')) = (completed_at IS NOT NULL)),
  CHECK (status <> 'FAILED' OR error IS NOT NULL)
);
-- The sweep's way in; builds are few, so that leaving it on each change of status costs nothing that is felt.
CREATE INDEX builds_unfinished ON builds (id) WHERE completed_at IS NULL;

-- A narrow row for each workflow that can run. The scheduling worker reads nothing but the rows whose wake_at has come:
-- a slot is due, a job asks to be run, or an active job is to be looked after. Its cost follows those, not the table.
CREATE TABLE schedules (
  workflow_id uuid PRIMARY KEY REFERENCES workflows ON DELETE CASCADE,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  state text NOT NULL CHECK (state IN ('READY', 'HELD', 'TERMINATED')),
  generation integer NOT NULL,
  interval_minutes integer NOT NULL,
  last_slot_at timestamptz, -- the last slot that was run; null before the first
  next_run_at timestamptz, -- the next slot; stays in the past while the slot waits for an active job or a build
  wake_at timestamptz, -- when scheduling must look at this row; null: when something else sets it
  waiting boolean NOT NULL DEFAULT false, -- a slot or a requested job waits for the active job: its end sets wake_at
  last_job_id uuid, -- the job that was handed out last. While it has not ended, no other is: one active job a workflow
  CHECK ((state = 'TERMINATED') = (next_run_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX schedules_wake ON schedules (wake_at) WHERE wake_at IS NOT NULL;

-- Every column that changes after the insert is in no index and in no index's predicate, and pages have room, so that
-- updates stay heap-only (measured: 40 instead of 92 microseconds a job). workflow_id has no foreign key for the same
-- reason: rows are inserted under the lock of their schedule, which exists only while the workflow does.
CREATE TABLE jobs (
  id uuid PRIMARY KEY,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  trigger text NOT NULL CHECK (trigger IN ('AUTOMATIC', 'MANUAL')),
  status text NOT NULL CHECK (status IN ('PENDING', 'QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELED')),
  generation integer NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  scheduled_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  queued_at timestamptz,
  started_at timestamptz,
  completed_at timestamptz,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamptz,
  engine_id text,
  cancel_requested_at timestamptz,
  exit_code integer,
  failure_reason text CHECK (failure_reason IN ('EXIT_CODE', 'CHECK_FAILED', 'TIMEOUT', 'OUT_OF_MEMORY', 'START_FAILED', 'SYSTEM')),
  failure_message text,
  log_line_count integer NOT NULL DEFAULT 0, -- while it runs: the lines of earlier attempts
  CHECK ((status = 'RUNNING') = (lease_token IS NOT NULL)),
  CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELED')) = (completed_at IS NOT NULL)),
  CHECK ((status = 'FAILED') = (failure_reason IS NOT NULL)),
  CHECK (status NOT IN ('RUNNING', 'COMPLETED', 'FAILED') OR started_at IS NOT NULL)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX jobs_slot ON jobs (workflow_id, scheduled_at) WHERE trigger = 'AUTOMATIC';
CREATE INDEX jobs_user ON jobs (user_id, id);
CREATE INDEX jobs_workflow ON jobs (workflow_id, id);

-- Requested jobs that have not been handed out yet, oldest first by id: a table of its own because an index on the status
-- of jobs would cost every job.
CREATE TABLE run_requests (
  job_id uuid PRIMARY KEY,
  workflow_id uuid NOT NULL
);
CREATE INDEX run_requests_workflow ON run_requests (workflow_id, job_id);

-- One row a batch of lines. Partitioned by ranges of source_id: an id carries its time of creation, so a range of ids is a
-- day, a job's chunks are in one partition, and the key that makes a second write of a batch change nothing needs no day.
CREATE TABLE log_chunks (
  source_id uuid NOT NULL, -- a job or a build
  first_number integer NOT NULL,
  last_number integer NOT NULL CHECK (last_number >= first_number),
  attempt integer NOT NULL,
  lines bytea NOT NULL,
  PRIMARY KEY (source_id, first_number)
) PARTITION BY RANGE (source_id);
ALTER TABLE log_chunks ALTER COLUMN lines SET STORAGE EXTERNAL; -- compressed already
CREATE TABLE log_chunks_other PARTITION OF log_chunks DEFAULT;
