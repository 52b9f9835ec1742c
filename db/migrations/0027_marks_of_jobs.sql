-- A job says itself whether its success changes the failure count of its workflow (after_failure) and whether its schedule waits for its end (awaited).
-- So the end of a job that changes neither looks up no other row. A mark that is set in vain costs a little time; one that is missing would be wrong.
-- So jobs that other statements make have both marks, and only the statement that queues due slots leaves them out.
-- schedules.failing is false only if the failure count of the workflow is 0. A trigger keeps it, whichever process writes the count. It is true until
-- the next end of a job that writes the count, even if that stays 0.
-- One job for each slot rests on the lock of the schedule alone: the index jobs_slot, which refused a second one, costs a fifth of queueing a slot.
-- Processes of the version before go on, except the scheduling worker: its statement needs the index. Stop it first (docs/operate/backup-and-upgrades.md).
-- Locks for a moment: workflows (SHARE ROW EXCLUSIVE), schedules (ACCESS EXCLUSIVE), jobs (ACCESS EXCLUSIVE).

-- part: adds the mark to schedules
ALTER TABLE schedules ADD COLUMN failing boolean NOT NULL DEFAULT true;

-- part: keeps the mark of schedules from now on
CREATE FUNCTION mark_failing_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE schedules SET failing = NEW.consecutive_job_failures_count > 0
  WHERE workflow_id = NEW.id AND failing <> (NEW.consecutive_job_failures_count > 0);
  RETURN NULL;
END $$;
CREATE TRIGGER workflows_failing AFTER UPDATE OF consecutive_job_failures_count ON workflows
  FOR EACH ROW EXECUTE FUNCTION mark_failing_schedule();

-- part: adds the marks to jobs
ALTER TABLE jobs ADD COLUMN after_failure boolean NOT NULL DEFAULT true, ADD COLUMN awaited boolean NOT NULL DEFAULT true;
ALTER TABLE jobs SET (fillfactor = 42);

-- part: drops the index of slots
DROP INDEX jobs_slot;
