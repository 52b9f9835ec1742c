-- An attempt's number is never used again. Attempts that were given back before anything of them had started are counted apart, so that they cost
-- nothing. And a schedule says by itself that somebody asked for a run: a request that commits between the snapshot of the statement that hands
-- out slots and its lock of the schedule is seen in the locked row alone.
-- Locks: jobs, builds and schedules, for a moment (the new columns are constants, so no row is rewritten); then one row of schedules for each
-- workflow that waits for a requested run.

ALTER TABLE jobs ADD COLUMN uncounted_attempts integer NOT NULL DEFAULT 0;
ALTER TABLE builds ADD COLUMN uncounted_attempts integer NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN requested boolean NOT NULL DEFAULT false;
UPDATE schedules SET requested = true WHERE workflow_id IN (SELECT workflow_id FROM run_requests);
