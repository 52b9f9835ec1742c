-- The attempt whose first line's number is settled: what earlier attempts have printed is stored, and is followed by its lines. Chunks of
-- an earlier attempt that come later are dropped. A first attempt needs nothing to be settled.
-- Locks for a moment: jobs (ACCESS EXCLUSIVE), builds (ACCESS EXCLUSIVE). A column with a constant default rewrites nothing.

-- part: adds the attempt of jobs
ALTER TABLE jobs ADD COLUMN log_attempt integer NOT NULL DEFAULT 1;

-- part: adds the attempt of builds
ALTER TABLE builds ADD COLUMN log_attempt integer NOT NULL DEFAULT 1;
