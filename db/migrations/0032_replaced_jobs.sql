-- A slot that a job was canceled for runs, however long the job takes to stop: schedules remember the slot.
-- Processes of the version before go on, and may drop such a slot.
-- Locks for a moment: schedules (ACCESS EXCLUSIVE).
-- Takes: nothing, because no row is rewritten.

-- part: adds the slot that a job was canceled for
ALTER TABLE schedules ADD COLUMN replacing_slot_at timestamptz; -- the next_run_at that the overlap policy REPLACE canceled a job for
