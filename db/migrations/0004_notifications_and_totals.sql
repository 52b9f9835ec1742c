-- Notifications with each user's preference, and running totals of what has ended, so that analytics read no history.
-- Locks: users for a moment (a column with a constant default rewrites nothing); workflows while its triggers are made. What ended
-- before is counted once, by a scan of jobs which blocks nobody: stop the workers of the old version first, or what they end meanwhile is missed.

ALTER TABLE users ADD COLUMN notification_preference text NOT NULL DEFAULT 'ALERTS'
  CHECK (notification_preference IN ('ALL', 'ALERTS', 'NONE'));

-- The workflow's name is kept, because a purge takes the workflow. Job and workflow have no foreign keys for the same reason.
CREATE TABLE notifications (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN (
    'WORKFLOW_BUILD_FAILED', 'WORKFLOW_TERMINATED', 'WORKFLOW_RECOVERED', 'JOB_FAILED', 'JOB_COMPLETED')),
  workflow_id uuid NOT NULL,
  workflow_name text NOT NULL,
  job_id uuid,
  detail text, -- why something failed, or how many failures it were
  read_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (kind NOT IN ('JOB_FAILED', 'JOB_COMPLETED') OR job_id IS NOT NULL)
);
CREATE INDEX notifications_user ON notifications (user_id, id);
CREATE INDEX notifications_unread ON notifications (user_id, id) WHERE read_at IS NULL;

-- Whole milliseconds, as Job.durationMs has them; null where a job never started. STABLE, as extract is, or it would not be inlined.
CREATE FUNCTION duration_ms(started_at timestamptz, completed_at timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT greatest(0, floor(extract(epoch FROM completed_at) * 1000) - floor(extract(epoch FROM started_at) * 1000))::bigint
$$;
-- 0 below a millisecond, -1 for none; bucket b > 0 holds what is above g^(b-2) and up to g^(b-1) ms, g = 1.05 / 0.95: the middle of a bucket
-- is at most 5 % away from what is in it (domain/durations.ts has the way back).
CREATE FUNCTION duration_bucket(ms bigint) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN ms IS NULL THEN -1 WHEN ms <= 0 THEN 0 ELSE 1 + ceil(ln(ms::float8) / ln(1.05::float8 / 0.95)) END::smallint
$$;

-- Running totals of a scope (a workflow or a user) for each hour: what ended, by its duration. Job counts stand under the status of the
-- end; workflows under WORKFLOW_CREATED and WORKFLOW_DELETED. They outlive what they count.
CREATE TABLE totals (
  scope_id uuid NOT NULL,
  what text NOT NULL CHECK (what IN ('COMPLETED', 'FAILED', 'CANCELED', 'WORKFLOW_CREATED', 'WORKFLOW_DELETED')),
  hour timestamptz NOT NULL,
  bucket smallint NOT NULL,
  count bigint NOT NULL,
  log_lines bigint NOT NULL,
  duration_ms bigint NOT NULL,
  PRIMARY KEY (scope_id, what, hour, bucket)
) WITH (fillfactor = 80);

-- A user's totals of ended jobs for each day (UTC) besides: summing a year of hours took 230 ms, of days 10. A workflow has fewer rows and none here,
-- because each more for its every job would cost as much again as the first.
CREATE TABLE daily_totals (
  user_id uuid NOT NULL,
  what text NOT NULL CHECK (what IN ('COMPLETED', 'FAILED', 'CANCELED')),
  day timestamptz NOT NULL,
  bucket smallint NOT NULL,
  count bigint NOT NULL,
  log_lines bigint NOT NULL,
  duration_ms bigint NOT NULL,
  PRIMARY KEY (user_id, what, day, bucket)
) WITH (fillfactor = 80);

-- What has happened and is not in totals yet: one row for each set that ended together, written by the statement that ended it, so that the hot
-- path touches one row more a set and none a job. Folding deletes it and adds it to totals in one statement: each job counts once.
CREATE TABLE totals_pending (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  weight integer NOT NULL DEFAULT 1, -- of each element
  user_ids uuid[] NOT NULL,
  workflow_ids uuid[] NOT NULL,
  whats text[] NOT NULL,
  started_ats timestamptz[] NOT NULL,
  log_lines integer[] NOT NULL
);
-- It lives for a second or two: compressing it costs more than its bytes.
ALTER TABLE totals_pending
  ALTER COLUMN user_ids SET STORAGE EXTERNAL, ALTER COLUMN workflow_ids SET STORAGE EXTERNAL, ALTER COLUMN whats SET STORAGE EXTERNAL,
  ALTER COLUMN started_ats SET STORAGE EXTERNAL, ALTER COLUMN log_lines SET STORAGE EXTERNAL;

-- Workflows are counted by triggers: they are made, deleted and purged in several places, and none of them may be forgotten.
CREATE FUNCTION count_created_workflows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO totals_pending (weight, user_ids, workflow_ids, whats, started_ats, log_lines)
  SELECT count(*), ARRAY[user_id], ARRAY[NULL::uuid], ARRAY['WORKFLOW_CREATED'], ARRAY[NULL::timestamptz], ARRAY[0]
  FROM changed GROUP BY user_id;
  RETURN NULL;
END $$;
CREATE FUNCTION count_deleted_workflow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
  VALUES (ARRAY[OLD.user_id], ARRAY[NULL::uuid], ARRAY['WORKFLOW_DELETED'], ARRAY[NULL::timestamptz], ARRAY[0]);
  RETURN NULL;
END $$;
CREATE TRIGGER workflows_created AFTER INSERT ON workflows
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_created_workflows();
CREATE TRIGGER workflows_deleted AFTER UPDATE OF deleted_at ON workflows
  FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION count_deleted_workflow();
CREATE TRIGGER workflows_purged AFTER DELETE ON workflows
  FOR EACH ROW WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION count_deleted_workflow();

-- What there is already.
INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
SELECT scope_id, status, date_trunc('hour', completed_at, 'UTC'), duration_bucket(ms), count(*), sum(log_line_count), coalesce(sum(ms), 0)
FROM jobs, LATERAL (SELECT duration_ms(started_at, completed_at) AS ms) duration,
  LATERAL (VALUES (workflow_id), (user_id)) scope (scope_id)
WHERE completed_at IS NOT NULL
GROUP BY 1, 2, 3, 4;
INSERT INTO daily_totals (user_id, what, day, bucket, count, log_lines, duration_ms)
SELECT user_id, status, date_trunc('day', completed_at, 'UTC'), duration_bucket(ms), count(*), sum(log_line_count), coalesce(sum(ms), 0)
FROM jobs, LATERAL (SELECT duration_ms(started_at, completed_at) AS ms) duration
WHERE completed_at IS NOT NULL
GROUP BY 1, 2, 3, 4;
INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
SELECT user_id, what, date_trunc('hour', at, 'UTC'), -1, count(*), 0, 0
FROM workflows, LATERAL (VALUES ('WORKFLOW_CREATED', created_at), ('WORKFLOW_DELETED', deleted_at)) happened (what, at)
WHERE at IS NOT NULL
GROUP BY 1, 2, 3;
