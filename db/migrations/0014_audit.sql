-- Who did what: one row for each mutation, written in the transaction of its change, never updated. What an API token may do, and who asked
-- for a MANUAL job.
-- Locks for a moment: tokens (ACCESS EXCLUSIVE), jobs (ACCESS EXCLUSIVE). The new columns are constants or empty, so no row is rewritten.
-- Takes, and blocks nobody: reading tokens once.

-- part: makes the audit
CREATE TABLE audit_events (
  id uuid PRIMARY KEY, -- UUIDv7: the order in time, by which old rows are found
  at timestamptz NOT NULL DEFAULT now(),
  action text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('DONE', 'REFUSED')),
  code text, -- why it was refused
  user_id uuid, -- whose account it concerns; null where no account is known
  actor_id uuid, -- who did it; null where nobody was signed in, and for commands of the operator
  token_id uuid,
  token_kind text CHECK (token_kind IN ('SESSION', 'API')),
  token_name text,
  address text, -- null for commands of the operator
  object_id uuid,
  changes jsonb NOT NULL DEFAULT '[]',
  count integer NOT NULL DEFAULT 1 CHECK (count > 0), -- of refusals that are alike within a minute
  CHECK ((outcome = 'REFUSED') = (code IS NOT NULL))
);
CREATE INDEX audit_events_user ON audit_events (user_id, id);

CREATE FUNCTION refuse_audit_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Audit events are never updated.';
END $$;
CREATE TRIGGER audit_events_stay BEFORE UPDATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_update();

-- part: adds the scope of tokens
ALTER TABLE tokens ADD COLUMN scope text NOT NULL DEFAULT 'WRITE',
  ADD CONSTRAINT tokens_scope_check CHECK (scope IN ('READ', 'RUN', 'WRITE')) NOT VALID;

-- part: checks the scope
ALTER TABLE tokens VALIDATE CONSTRAINT tokens_scope_check;

-- part: adds who asked for a job
ALTER TABLE jobs
  ADD COLUMN requested_by uuid,
  ADD COLUMN requested_with text;
