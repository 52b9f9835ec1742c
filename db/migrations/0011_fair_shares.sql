-- Fair shares. Turns say who is next where slots are few (db/turns.ts); what was QUEUED before gets its turn when the scheduling worker
-- sends its event again, within a minute. Requested jobs carry their user and kind, and payloads their size, so that a user's limits are
-- counted without reading jobs or payloads. Generations of payloads that nothing needs any more go; from now on an update removes them.
-- Locks payloads while they are written anew: a minute for a million of them. run_requests are few.

CREATE TABLE turns (
  id uuid PRIMARY KEY, -- a job or a build
  kind text NOT NULL CHECK (kind IN ('CONTAINER', 'BUILD')),
  user_id uuid NOT NULL,
  round bigint NOT NULL
);
CREATE INDEX turns_next ON turns (kind, round, id);
CREATE INDEX turns_user ON turns (kind, user_id, round);

ALTER TABLE run_requests ADD COLUMN user_id uuid, ADD COLUMN kind text;
DELETE FROM run_requests WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = job_id);
UPDATE run_requests SET user_id = jobs.user_id, kind = jobs.kind FROM jobs WHERE jobs.id = job_id;
ALTER TABLE run_requests ALTER COLUMN user_id SET NOT NULL, ALTER COLUMN kind SET NOT NULL;
CREATE INDEX run_requests_user ON run_requests (user_id, kind);

DELETE FROM payloads USING workflows
WHERE workflows.id = payloads.workflow_id AND payloads.generation < workflows.generation
  AND NOT EXISTS (SELECT FROM schedules JOIN jobs ON jobs.id = schedules.last_job_id
    WHERE schedules.workflow_id = workflows.id AND jobs.generation = payloads.generation AND jobs.completed_at IS NULL)
  AND NOT EXISTS (SELECT FROM run_requests JOIN jobs ON jobs.id = run_requests.job_id
    WHERE run_requests.workflow_id = workflows.id AND jobs.generation = payloads.generation)
  AND NOT EXISTS (SELECT FROM builds
    WHERE builds.workflow_id = workflows.id AND builds.generation = payloads.generation AND builds.completed_at IS NULL);
ALTER TABLE payloads ADD COLUMN bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(payload::text)) STORED;

CREATE INDEX builds_user_unfinished ON builds (user_id) WHERE completed_at IS NULL;
