-- How long a workflow keeps its log lines, where that is shorter than the installation does.
-- Locks: workflows for a moment (the new columns are null everywhere, so no row is written, and the index starts empty).

-- logs_removed_to: of its jobs and builds up to this id the lines are gone. It is in no index, so that moving it stays heap-only.
ALTER TABLE workflows
  ADD COLUMN log_retention_days integer CHECK (log_retention_days >= 1),
  ADD COLUMN logs_removed_to uuid;
CREATE INDEX workflows_log_retention ON workflows (id) WHERE log_retention_days IS NOT NULL; -- the way in to them
