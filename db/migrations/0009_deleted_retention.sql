-- What was deleted goes when DELETED_RETENTION_DAYS have passed: the way in to it.
-- Locks: workflows against writing while the index is made, which reads the table once (a second or so for a million workflows).

CREATE INDEX workflows_deleted ON workflows (deleted_at) WHERE deleted_at IS NOT NULL AND purge_requested_at IS NULL;
