-- Counts how often a job was taken over by another worker. Lines that a container prints live have no numbers of their own: a worker that adopts the
-- container counts on from what is stored, and what its former worker publishes later must not count. attempt + adoptions numbers the leases of a job
-- that may print, and log_attempt is compared with it. Without adoptions it is the attempt, so no stored value changes.
-- Locks for a moment: jobs (ACCESS EXCLUSIVE).

ALTER TABLE jobs ADD COLUMN adoptions integer NOT NULL DEFAULT 0;
