-- How long a workflow keeps its log lines, where that is shorter than the installation does.
-- Locks for a moment: workflows (ACCESS EXCLUSIVE). The new columns are null everywhere, so no row is written.
-- Takes, and blocks nobody: reading workflows three times (its check, its index), a few seconds for a million.

-- part: adds the retention of workflows
-- logs_removed_to: of its jobs and builds up to this id the lines are gone. It is in no index, so that moving it stays heap-only.
ALTER TABLE workflows
  ADD COLUMN log_retention_days integer,
  ADD COLUMN logs_removed_to uuid,
  ADD CONSTRAINT workflows_log_retention_days_check CHECK (log_retention_days >= 1) NOT VALID;

-- part: checks the retention
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_log_retention_days_check;

-- index: finds workflows with a retention of their own
CREATE INDEX CONCURRENTLY IF NOT EXISTS workflows_log_retention ON workflows (id) WHERE log_retention_days IS NOT NULL; -- the way in to them
