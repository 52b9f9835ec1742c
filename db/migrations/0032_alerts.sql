-- Alerts that leave the system: channels, incidents, and what must be delivered.
-- Every workflow that is there alerts after its first failure, over the default channels of its owner, of which there are none yet.
-- Processes of the version before go on. They open no incident and record no alert: stop them before the first channel.
-- Locks for a moment: users (SHARE ROW EXCLUSIVE), workflows (ACCESS EXCLUSIVE), workflows (SHARE ROW EXCLUSIVE), notifications (ACCESS EXCLUSIVE),
-- workers (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading workflows and notifications once, some seconds for a million of each.

-- part: adds the choices of workflows
ALTER TABLE workflows
  ADD COLUMN alert_after_failures integer NOT NULL DEFAULT 1,
  ADD COLUMN has_own_alert_channels boolean NOT NULL DEFAULT false, -- false: the default channels of its owner
  ADD COLUMN muted_until timestamptz, -- one that has passed: not muted
  ADD CONSTRAINT workflows_alert_after_failures_check CHECK (alert_after_failures BETWEEN 1 AND 1000) NOT VALID;

-- part: checks these of all workflows
ALTER TABLE workflows VALIDATE CONSTRAINT workflows_alert_after_failures_check;

-- part: makes the channels
-- A channel is a queue: one worker at a time sends from it, under its lease.
CREATE TABLE alert_channels (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('WEBHOOK', 'EMAIL', 'SLACK', 'DISCORD', 'NTFY')),
  config jsonb NOT NULL, -- where it sends; its secrets are sealed
  events text[] NOT NULL,
  is_default boolean NOT NULL,
  include_log boolean NOT NULL,
  state text NOT NULL CHECK (state IN ('UNCONFIRMED', 'ACTIVE', 'DISABLED')),
  disabled_reason text,
  confirmation jsonb, -- the code that an UNCONFIRMED channel waits for, sealed
  created_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz, -- what it has delivered stays readable for a while
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamptz,
  retry_at timestamptz, -- nothing is sent before, except a test
  attempted_at timestamptz, -- a delivery that comes after this may be tried before retry_at
  hold_until timestamptz, -- the other side wants nothing before
  digested_at timestamptz, -- when the last digest was sent
  first_failed_at timestamptz, -- of the failures since the last success
  failure_count integer NOT NULL DEFAULT 0,
  rejection_count integer NOT NULL DEFAULT 0, -- refused for good, in a row
  CHECK ((state = 'DISABLED') = (disabled_reason IS NOT NULL)),
  CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL) AND (lease_token IS NULL) = (lease_owner IS NULL))
) WITH (fillfactor = 70); -- its times change with each message
CREATE INDEX alert_channels_user ON alert_channels (user_id, id) WHERE deleted_at IS NULL;
CREATE INDEX alert_channels_deleted ON alert_channels (deleted_at) WHERE deleted_at IS NOT NULL;
-- The end of a job that nobody wants to hear of looks here, and finds nothing.
CREATE INDEX alert_channels_completed ON alert_channels (user_id)
  WHERE deleted_at IS NULL AND state = 'ACTIVE' AND 'JOB_COMPLETED' = ANY (events);

CREATE TABLE workflow_alert_channels (
  workflow_id uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
  channel_id uuid NOT NULL REFERENCES alert_channels ON DELETE CASCADE,
  PRIMARY KEY (workflow_id, channel_id)
);
CREATE INDEX workflow_alert_channels_channel ON workflow_alert_channels (channel_id);

-- part: makes the incidents
CREATE TABLE incidents (
  id uuid PRIMARY KEY,
  workflow_id uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
  user_id uuid NOT NULL,
  job_id uuid NOT NULL, -- the job that reached alert_after_failures
  opened_at timestamptz NOT NULL DEFAULT now(),
  alerted_at timestamptz, -- null while the workflow is muted from before it
  resolved_at timestamptz,
  resolution text CHECK (resolution IN ('RECOVERED', 'TERMINATED')),
  failures integer NOT NULL, -- in a row
  CHECK ((resolved_at IS NULL) = (resolution IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX incidents_open ON incidents (workflow_id) WHERE resolved_at IS NULL;
CREATE INDEX incidents_unalerted ON incidents (workflow_id) WHERE resolved_at IS NULL AND alerted_at IS NULL;
CREATE INDEX incidents_workflow ON incidents (workflow_id, id);
CREATE INDEX incidents_resolved ON incidents (resolved_at) WHERE resolved_at IS NOT NULL;

-- part: makes the outages
-- Of the platform: its administrators are alerted.
CREATE TABLE outages (
  id uuid PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('NETWORK', 'ENGINE')),
  place text NOT NULL, -- the name of the machine, or the id of the engine
  host text NOT NULL, -- the name of the machine
  detail text NOT NULL, -- why, in sentences
  began_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  resolution text CHECK (resolution IN ('RECOVERED', 'GONE')),
  CHECK ((ended_at IS NULL) = (resolution IS NULL))
);
CREATE UNIQUE INDEX outages_open ON outages (kind, place) WHERE ended_at IS NULL;
CREATE INDEX outages_ended ON outages (ended_at) WHERE ended_at IS NOT NULL;

-- part: makes the deliveries
-- Workflow, job and incident have no foreign keys, because what was delivered outlives them. Channel and delivery have none, because each check costs
-- half as much as the row: a channel goes after its deliveries, and those take what is queued along (db/alerts/retention.ts).
CREATE TABLE alert_deliveries (
  id uuid PRIMARY KEY, -- receivers know the message by it
  channel_id uuid NOT NULL,
  user_id uuid NOT NULL,
  event text NOT NULL CHECK (event IN ('WORKFLOW_FAILING', 'WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED', 'WORKFLOW_BUILD_FAILED', 'JOB_FAILED',
    'JOB_COMPLETED', 'CHANNEL_DISABLED', 'PLATFORM_OUTAGE', 'PLATFORM_RECOVERED', 'TEST', 'CONFIRMATION')),
  workflow_id uuid,
  workflow_name text,
  job_id uuid,
  incident_id uuid, -- or that of an outage
  detail text, -- the reason
  status text NOT NULL CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'EXPIRED', 'MERGED', 'SUPPRESSED')),
  attempt integer NOT NULL DEFAULT 0,
  last_status integer, -- of HTTP or SMTP
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  CHECK ((status = 'DELIVERED') = (delivered_at IS NOT NULL)),
  CHECK ((workflow_id IS NULL) = (workflow_name IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX alert_deliveries_channel ON alert_deliveries (channel_id, id);
CREATE INDEX alert_deliveries_codes ON alert_deliveries (user_id, created_at) WHERE event = 'CONFIRMATION';
CREATE INDEX alert_deliveries_incident ON alert_deliveries (incident_id) WHERE incident_id IS NOT NULL;

-- The PENDING ones. Narrow rows that come and go, so that no index of the deliveries has a column that changes.
CREATE TABLE alert_due (
  delivery_id uuid PRIMARY KEY,
  channel_id uuid NOT NULL,
  is_urgent boolean NOT NULL DEFAULT false, -- a test, which waits for nothing
  queued_at timestamptz NOT NULL DEFAULT now(),
  digest_id uuid -- of the digest that reports it
);
CREATE INDEX alert_due_channel ON alert_due (channel_id, is_urgent DESC, delivery_id);
CREATE INDEX alert_due_digest ON alert_due (digest_id) WHERE digest_id IS NOT NULL;

-- part: lets a success look for the incident that it ends
-- The count may be 0 while an incident is open: a pause for failures begins it anew.
CREATE OR REPLACE FUNCTION mark_failing_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_failing boolean := NEW.consecutive_job_failures_count > 0
    OR EXISTS (SELECT FROM incidents WHERE workflow_id = NEW.id AND resolved_at IS NULL);
BEGIN
  UPDATE schedules SET failing = is_failing WHERE workflow_id = NEW.id AND failing <> is_failing;
  RETURN NULL;
END $$;

-- part: allows notifications of channels
ALTER TABLE notifications ALTER COLUMN workflow_id DROP NOT NULL, ALTER COLUMN workflow_name DROP NOT NULL,
  DROP CONSTRAINT notifications_kind_check,
  ADD CONSTRAINT notifications_kind_check CHECK (kind IN ('WORKFLOW_BUILD_FAILED', 'WORKFLOW_TERMINATED', 'WORKFLOW_PAUSED', 'WORKFLOW_RECOVERED',
    'RUN_SKIPPED', 'RUN_LATE', 'JOB_LONG', 'JOB_SHORT', 'JOB_FAILED', 'JOB_COMPLETED', 'CHANNEL_DISABLED')) NOT VALID,
  ADD CONSTRAINT notifications_workflow_check CHECK ((kind = 'CHANNEL_DISABLED') = (workflow_id IS NULL)) NOT VALID;

-- part: checks the kinds of all notifications
ALTER TABLE notifications VALIDATE CONSTRAINT notifications_kind_check;
ALTER TABLE notifications VALIDATE CONSTRAINT notifications_workflow_check;

-- part: allows the worker that sends them
ALTER TABLE workers DROP CONSTRAINT workers_name_check,
  ADD CONSTRAINT workers_name_check CHECK (name IN ('scheduling', 'execution', 'workflow', 'joblogs', 'alerting')) NOT VALID;

-- part: checks the names of all workers
ALTER TABLE workers VALIDATE CONSTRAINT workers_name_check;
