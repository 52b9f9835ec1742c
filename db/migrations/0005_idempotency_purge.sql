-- What a repeated call needs to know of the first one, and which workflows are to go with all their history.
-- Locks for a moment: users (SHARE ROW EXCLUSIVE), workflows (ACCESS EXCLUSIVE). The new column is null everywhere, so no row is written.
-- Takes, and blocks nobody: reading workflows three times (its check, its index), a few seconds for a million.

-- part: makes the keys of repeated calls
-- A row is made in the transaction of the change that it is about: whoever comes second waits at the key until the first has
-- committed or failed. Of the input there is only a hash, because it may hold secrets.
CREATE TABLE idempotency_keys (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  mutation text NOT NULL,
  key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
  input_hash bytea NOT NULL,
  object_id uuid, -- what the mutation gave; null only inside the transaction that makes the row
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, mutation, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at); -- the sweep's way in

-- part: adds the mark of workflows that are to go
-- From then on the workflow is in no answer any more; the sweep removes its history in batches, and its row last.
ALTER TABLE workflows ADD COLUMN purge_requested_at timestamptz,
  ADD CONSTRAINT workflows_check2 CHECK (purge_requested_at IS NULL OR deleted_at IS NOT NULL) NOT VALID;

-- part: checks the mark
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_check2;

-- index: finds workflows that are to go
CREATE INDEX CONCURRENTLY IF NOT EXISTS workflows_purging ON workflows (id) WHERE purge_requested_at IS NOT NULL;
