-- A job or a build whose end was not written by its own worker may have lines on the bus that nobody has counted. Its log stays open until the
-- end-of-log marker. The row said so by a negative log_attempt; now log_open says it, and log_attempt stays positive. The state HELD of a schedule
-- becomes BLOCKED, the word that the rest of the system uses.
-- Processes of the version before go on: triggers translate what they write. The trigger of jobs runs once a statement that sets log_attempt, and finds
-- its rows by the old index, which therefore stays under another name. (A trigger for each row locks every row that the hot statements change.)
-- A later version drops the triggers and the old indexes. The first statement of an old process that sets log_attempt translates all rows that are
-- left: usually few, and many only after a long outage of log storage.
-- Locks for a moment: jobs (ACCESS EXCLUSIVE), builds (ACCESS EXCLUSIVE), schedules (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading schedules twice, and jobs and builds three times, two minutes for ten million.

-- part: adds log_open to jobs, and translates what processes of the version before write
ALTER INDEX jobs_open_log RENAME TO jobs_negative_log_attempt;
ALTER TABLE jobs ADD COLUMN log_open boolean NOT NULL DEFAULT false;
CREATE FUNCTION open_logs_of_negative_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('UPDATE %1$I SET log_open = true, log_attempt = ~log_attempt WHERE id = ANY(ARRAY(
    SELECT id FROM %1$I WHERE log_attempt < 0 ORDER BY id FOR UPDATE SKIP LOCKED))', TG_TABLE_NAME);
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_negative_log_attempt AFTER UPDATE OF log_attempt ON jobs
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION open_logs_of_negative_attempts();

-- part: adds log_open to builds, likewise
ALTER INDEX builds_open_log RENAME TO builds_negative_log_attempt;
ALTER TABLE builds ADD COLUMN log_open boolean NOT NULL DEFAULT false;
CREATE TRIGGER builds_negative_log_attempt AFTER UPDATE OF log_attempt ON builds
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION open_logs_of_negative_attempts();

-- steps: marks the open logs of jobs
WITH step AS MATERIALIZED (
  SELECT id FROM jobs WHERE id > $1::uuid AND log_attempt < 0 ORDER BY id LIMIT $2
), locked AS MATERIALIZED (
  SELECT id FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM step)) AND log_attempt < 0 ORDER BY id FOR UPDATE
), opened AS (
  UPDATE jobs SET log_open = true, log_attempt = ~log_attempt FROM locked WHERE jobs.id = locked.id
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- steps: marks the open logs of builds
WITH step AS MATERIALIZED (
  SELECT id FROM builds WHERE id > $1::uuid AND log_attempt < 0 ORDER BY id LIMIT $2
), locked AS MATERIALIZED (
  SELECT id FROM builds WHERE id = ANY(ARRAY(SELECT id FROM step)) AND log_attempt < 0 ORDER BY id FOR UPDATE
), opened AS (
  UPDATE builds SET log_open = true, log_attempt = ~log_attempt FROM locked WHERE builds.id = locked.id
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- index: finds jobs whose log is open
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_open_log ON jobs (id) WHERE log_open;

-- index: finds builds whose log is open
CREATE INDEX CONCURRENTLY IF NOT EXISTS builds_open_log ON builds (id) WHERE log_open;

-- part: lets no log be open before the end of its job
ALTER TABLE jobs ADD CONSTRAINT jobs_log_open_check CHECK (NOT log_open OR completed_at IS NOT NULL) NOT VALID;

-- part: lets no log be open before the end of its build
ALTER TABLE builds ADD CONSTRAINT builds_log_open_check CHECK (NOT log_open OR completed_at IS NOT NULL) NOT VALID;

-- part: checks that of all jobs
ALTER TABLE jobs VALIDATE CONSTRAINT jobs_log_open_check;

-- part: checks that of all builds
ALTER TABLE builds VALIDATE CONSTRAINT builds_log_open_check;

-- part: allows the state BLOCKED of schedules, and translates HELD
ALTER TABLE schedules DROP CONSTRAINT schedules_state_check;
CREATE FUNCTION block_held_schedules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = 'HELD' THEN
    NEW.state := 'BLOCKED';
  ELSIF TG_OP = 'INSERT' AND NEW.state = 'READY' THEN
    -- The end of a build: a process of the version before inserts the schedule, and updates an existing one only where it is HELD.
    UPDATE schedules SET state = 'READY', generation = NEW.generation, wake_at = NEW.wake_at
    WHERE workflow_id = NEW.workflow_id AND state IN ('HELD', 'BLOCKED');
    IF FOUND THEN RETURN NULL; END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER schedules_held BEFORE INSERT OR UPDATE OF state ON schedules
  FOR EACH ROW WHEN (NEW.state IN ('HELD', 'READY')) EXECUTE FUNCTION block_held_schedules();

-- steps: renames the state of schedules
WITH step AS MATERIALIZED (
  SELECT workflow_id, state FROM schedules WHERE workflow_id > $1::uuid ORDER BY workflow_id LIMIT $2
), locked AS MATERIALIZED (
  SELECT workflow_id FROM schedules WHERE workflow_id = ANY(ARRAY(SELECT workflow_id FROM step WHERE state = 'HELD')) AND state = 'HELD'
  ORDER BY workflow_id FOR UPDATE
), renamed AS (
  UPDATE schedules SET state = 'BLOCKED' FROM locked WHERE schedules.workflow_id = locked.workflow_id
)
SELECT workflow_id AS position FROM step ORDER BY workflow_id DESC LIMIT 1;

-- part: allows no other states of schedules
ALTER TABLE schedules ADD CONSTRAINT schedules_state_check CHECK (state IN ('READY', 'BLOCKED', 'TERMINATED')) NOT VALID;

-- part: checks the states of all schedules
ALTER TABLE schedules VALIDATE CONSTRAINT schedules_state_check;
