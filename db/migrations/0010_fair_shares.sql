-- Fair shares. Turns say who is next where slots are few (db/turns.ts); what was queued before comes into the table with the event that
-- the scheduling worker sends again within a minute. Requested jobs carry their user and kind, and payloads their user and size,
-- so that a user's limits are counted from an index. Locks run_requests and payloads while they are filled: seconds for a million payloads.

CREATE TABLE turns (
  id uuid PRIMARY KEY, -- a job or a build
  kind text NOT NULL CHECK (kind IN ('CONTAINER', 'BUILD')),
  user_id uuid NOT NULL,
  round bigint NOT NULL
);
CREATE INDEX turns_next ON turns (kind, round, id);
CREATE INDEX turns_user ON turns (kind, user_id, round);

ALTER TABLE run_requests ADD COLUMN user_id uuid, ADD COLUMN kind text;
UPDATE run_requests SET user_id = jobs.user_id, kind = jobs.kind FROM jobs WHERE jobs.id = job_id;
CREATE INDEX run_requests_user ON run_requests (user_id, kind);

ALTER TABLE payloads ADD COLUMN user_id uuid, ADD COLUMN bytes integer;
UPDATE payloads SET user_id = workflows.user_id, bytes = octet_length(payload::text)
FROM workflows WHERE workflows.id = workflow_id;
CREATE INDEX payloads_user ON payloads (user_id) INCLUDE (bytes);

CREATE INDEX builds_user_unfinished ON builds (user_id) WHERE completed_at IS NULL;
