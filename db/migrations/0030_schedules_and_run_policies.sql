-- Schedules that follow a calendar, a time or nothing, beside those at an interval; pauses, run policies and retries.
-- Every row that is there goes on as it was: an interval, no pause, one slot that waits, no retries, termination after too many failures.
-- Processes of the version before go on with those. They cannot schedule what this version adds: stop them before the first such workflow.
-- Locks for a moment: workflows (ACCESS EXCLUSIVE), schedules (ACCESS EXCLUSIVE), schedules (SHARE ROW EXCLUSIVE), jobs (ACCESS EXCLUSIVE),
-- jobs_other (ACCESS EXCLUSIVE), notifications (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading workflows, schedules and notifications once, some seconds for a million of each.

-- part: adds the calendars
-- When cron expressions run in a time zone. The schedules with the same ones share a row, so that the statement that makes jobs reads the times, and
-- computes none. occurrences has the last time that has passed and those that follow, ascending; where schedules run some time after their slots, it
-- begins that much earlier. Nothing refers to a row by a foreign key, because
-- an index of schedules on it would cost each slot: db/calendars.ts says how unused rows are removed.
CREATE TABLE calendars (
  id uuid PRIMARY KEY,
  key text NOT NULL UNIQUE, -- equal for expressions and zones that differ in their spelling alone
  expressions text[] NOT NULL,
  time_zone text NOT NULL,
  tz_version text NOT NULL, -- the version of the time-zone data that the occurrences come from
  occurrences timestamptz[] NOT NULL,
  is_last boolean NOT NULL, -- nothing follows the last occurrence
  refill_at timestamptz, -- when more occurrences are due; null: never
  kept_seconds integer NOT NULL DEFAULT 0, -- for how long passed ones are kept: as long as any of its schedules was delayed
  used_at timestamptz NOT NULL DEFAULT now(), -- when a schedule was last given it
  CHECK (is_last OR refill_at IS NOT NULL)
);
CREATE INDEX calendars_refill ON calendars (refill_at) WHERE refill_at IS NOT NULL;

-- part: adds schedules, policies and pauses to workflows
ALTER TABLE workflows ALTER COLUMN interval_minutes DROP NOT NULL,
  ADD COLUMN schedule jsonb, -- null: at the interval
  ADD COLUMN run_policy jsonb, -- null: the defaults
  ADD COLUMN on_too_many_failures text NOT NULL DEFAULT 'TERMINATE',
  ADD COLUMN paused_at timestamptz, -- with a paused_until that has passed: not paused
  ADD COLUMN paused_until timestamptz,
  ADD COLUMN pause_reason text,
  ADD COLUMN pause_note text,
  ADD COLUMN skipped_run_count integer NOT NULL DEFAULT 0, -- of a terminated workflow; until then schedules has it
  ADD CONSTRAINT workflows_schedule_check CHECK ((schedule IS NULL) = (interval_minutes IS NOT NULL)) NOT VALID,
  ADD CONSTRAINT workflows_on_too_many_failures_check CHECK (on_too_many_failures IN ('TERMINATE', 'PAUSE', 'NOTHING')) NOT VALID,
  ADD CONSTRAINT workflows_pause_check CHECK ((paused_at IS NULL) = (pause_reason IS NULL) AND (paused_at IS NOT NULL OR paused_until IS NULL)
    AND pause_reason IN ('REQUESTED', 'FAILURES')) NOT VALID;

-- part: checks these of all workflows
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_schedule_check;
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_on_too_many_failures_check;
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_pause_check;

-- part: adds calendars, policies and pauses to schedules
ALTER TABLE schedules ALTER COLUMN interval_minutes DROP NOT NULL,
  ADD COLUMN calendar_id uuid,
  ADD COLUMN starts_at timestamptz, -- the first slot is not before
  ADD COLUMN ends_at timestamptz, -- every slot is before
  ADD COLUMN delay_seconds integer NOT NULL DEFAULT 0, -- from a slot to its run
  ADD COLUMN overlap text NOT NULL DEFAULT 'QUEUE',
  ADD COLUMN late_seconds integer, -- a slot that is later than this is dropped; null: never
  ADD COLUMN paused boolean NOT NULL DEFAULT false,
  ADD COLUMN paused_until timestamptz,
  ADD COLUMN skipped_run_count integer NOT NULL DEFAULT 0,
  ADD COLUMN skip_notified_at timestamptz, -- of the last notification of a skipped run
  ADD COLUMN late_after_seconds integer, -- a slot that has not started so long after its run was due is notified; null: never
  ADD COLUMN expected_max_seconds integer, -- a job that runs longer is notified; null: never
  ADD COLUMN watches_ends boolean NOT NULL DEFAULT false, -- the ends of jobs look at the run policy
  ADD COLUMN replacing_slot_at timestamptz, -- the next_run_at that the overlap policy REPLACE canceled a job for
  ADD COLUMN late_slot_at timestamptz, -- the last slot that was notified as late
  ADD COLUMN long_job_id uuid, -- the last job that was notified as long
  DROP CONSTRAINT schedules_check, -- next_run_at is null after the last slot too
  ADD CONSTRAINT schedules_overlap_check CHECK (overlap IN ('QUEUE', 'SKIP', 'REPLACE')) NOT VALID,
  ADD CONSTRAINT schedules_timing_check CHECK ((interval_minutes IS NULL OR calendar_id IS NULL) AND (state <> 'TERMINATED' OR next_run_at IS NULL)
    AND (paused OR paused_until IS NULL)) NOT VALID;

-- part: gives an interval its first slot when the first build ends
-- The end of a build inserts the schedule. If there is one that is BLOCKED, this makes it READY instead, as it did before.
CREATE OR REPLACE FUNCTION block_held_schedules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = 'HELD' THEN
    NEW.state := 'BLOCKED';
  ELSIF TG_OP = 'INSERT' AND NEW.state = 'READY' THEN
    UPDATE schedules SET state = 'READY', generation = NEW.generation, wake_at = NEW.wake_at,
      next_run_at = coalesce(next_run_at, CASE WHEN interval_minutes IS NOT NULL THEN NEW.next_run_at END)
    WHERE workflow_id = NEW.workflow_id AND state IN ('HELD', 'BLOCKED');
    IF FOUND THEN RETURN NULL; END IF;
  END IF;
  RETURN NEW;
END $$;

-- part: keeps what has passed for schedules that run some time after their slots
-- Statements of several files set the delay. The trigger runs when they do, and not when a slot becomes a job.
CREATE FUNCTION keep_occurrences() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE calendars SET kept_seconds = NEW.delay_seconds WHERE id = NEW.calendar_id AND kept_seconds < NEW.delay_seconds;
  RETURN NULL;
END $$;
CREATE TRIGGER keep_occurrences AFTER INSERT OR UPDATE OF calendar_id, delay_seconds ON schedules
  FOR EACH ROW WHEN (NEW.calendar_id IS NOT NULL AND NEW.delay_seconds > 0) EXECUTE FUNCTION keep_occurrences();

-- index: finds the schedules whose runs are watched
CREATE INDEX CONCURRENTLY IF NOT EXISTS schedules_watched ON schedules (workflow_id)
  WHERE late_after_seconds IS NOT NULL OR expected_max_seconds IS NOT NULL;

-- part: checks these of all schedules
ALTER TABLE schedules VALIDATE CONSTRAINT schedules_overlap_check;
ALTER TABLE schedules VALIDATE CONSTRAINT schedules_timing_check;

-- part: adds retries to jobs
ALTER TABLE jobs
  ADD COLUMN retries integer NOT NULL DEFAULT 0, -- how many attempts have failed and were followed by another one
  ADD COLUMN retry_at timestamptz; -- when the next attempt of a PENDING job begins, after a failed one

-- part: allows notifications of pauses and skipped runs
ALTER TABLE notifications DROP CONSTRAINT notifications_kind_check,
  ADD CONSTRAINT notifications_kind_check CHECK (kind IN ('WORKFLOW_BUILD_FAILED', 'WORKFLOW_TERMINATED', 'WORKFLOW_PAUSED', 'WORKFLOW_RECOVERED',
    'RUN_SKIPPED', 'RUN_LATE', 'JOB_LONG', 'JOB_SHORT', 'JOB_FAILED', 'JOB_COMPLETED')) NOT VALID;

-- part: checks the kinds of all notifications
ALTER TABLE notifications VALIDATE CONSTRAINT notifications_kind_check;
