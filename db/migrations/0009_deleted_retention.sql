-- What was deleted goes when DELETED_RETENTION_DAYS have passed: the way in to it.
-- Locks nothing that is in use. Takes, and blocks nobody: reading workflows twice for the index, a few seconds for a million.

-- index: finds workflows that were deleted
CREATE INDEX CONCURRENTLY IF NOT EXISTS workflows_deleted ON workflows (deleted_at) WHERE deleted_at IS NOT NULL AND purge_requested_at IS NULL;
