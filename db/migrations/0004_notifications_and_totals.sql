-- Notifications with each user's preference, and running totals of what has ended, so that analytics read no history.
-- Locks for a moment: users (ACCESS EXCLUSIVE), workflows (SHARE ROW EXCLUSIVE, ACCESS EXCLUSIVE), jobs (SHARE ROW EXCLUSIVE, ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading users once, workflows once and jobs once; a minute or two for a million jobs.
-- What there is already is counted in steps. What ends or is made meanwhile is counted by triggers, which note it, and the steps leave out
-- what is noted: each job counts once, also those that workers of the old version end. When this migration has ended, those of the old
-- version count no more: stop them before, or restart them soon.

-- part: adds the preference of users and the notifications
ALTER TABLE users ADD COLUMN notification_preference text NOT NULL DEFAULT 'ALERTS',
  ADD CONSTRAINT users_notification_preference_check CHECK (notification_preference IN ('ALL', 'ALERTS', 'NONE')) NOT VALID;

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

-- part: checks the preference of users
ALTER TABLE users VALIDATE CONSTRAINT users_notification_preference_check;

-- part: makes the totals, and counts from now on
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

-- Until the steps are through: which jobs and workflows the triggers have counted.
CREATE TABLE counted_meanwhile (
  id uuid NOT NULL,
  what text NOT NULL,
  PRIMARY KEY (id, what)
);
CREATE FUNCTION count_job_meanwhile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counted_meanwhile VALUES (NEW.id, 'JOB_ENDED');
  INSERT INTO totals_pending (at, user_ids, workflow_ids, whats, started_ats, log_lines)
  VALUES (NEW.completed_at, ARRAY[NEW.user_id], ARRAY[NEW.workflow_id], ARRAY[NEW.status], ARRAY[NEW.started_at], ARRAY[NEW.log_line_count]);
  RETURN NULL;
END $$;
CREATE FUNCTION note_workflow_meanwhile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counted_meanwhile VALUES (NEW.id, CASE TG_OP WHEN 'INSERT' THEN 'WORKFLOW_CREATED' ELSE 'WORKFLOW_DELETED' END);
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_ended_meanwhile AFTER UPDATE ON jobs
  FOR EACH ROW WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL) EXECUTE FUNCTION count_job_meanwhile();
CREATE TRIGGER workflows_created_meanwhile AFTER INSERT ON workflows FOR EACH ROW EXECUTE FUNCTION note_workflow_meanwhile();
CREATE TRIGGER workflows_deleted_meanwhile AFTER UPDATE OF deleted_at ON workflows
  FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION note_workflow_meanwhile();

-- steps: counts the jobs that have ended
WITH step AS MATERIALIZED (
  SELECT id, workflow_id, user_id, status, started_at, completed_at, log_line_count FROM jobs WHERE id > $1::uuid ORDER BY id LIMIT $2
), ended AS MATERIALIZED (
  SELECT workflow_id, user_id, status, completed_at, log_line_count, ms, duration_bucket(ms) AS bucket
  FROM step, LATERAL (SELECT duration_ms(started_at, completed_at) AS ms) duration
  WHERE completed_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM counted_meanwhile WHERE counted_meanwhile.id = step.id AND counted_meanwhile.what = 'JOB_ENDED')
), by_hour AS (
  INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
  SELECT scope_id, status, date_trunc('hour', completed_at, 'UTC') AS hour, bucket, count(*), sum(log_line_count), coalesce(sum(ms), 0)
  FROM ended, LATERAL (VALUES (workflow_id), (user_id)) scope (scope_id)
  GROUP BY scope_id, status, hour, bucket
  ON CONFLICT (scope_id, what, hour, bucket) DO UPDATE SET count = totals.count + excluded.count,
    log_lines = totals.log_lines + excluded.log_lines, duration_ms = totals.duration_ms + excluded.duration_ms
), by_day AS (
  INSERT INTO daily_totals (user_id, what, day, bucket, count, log_lines, duration_ms)
  SELECT user_id, status, date_trunc('day', completed_at, 'UTC') AS day, bucket, count(*), sum(log_line_count), coalesce(sum(ms), 0)
  FROM ended
  GROUP BY user_id, status, day, bucket
  ON CONFLICT (user_id, what, day, bucket) DO UPDATE SET count = daily_totals.count + excluded.count,
    log_lines = daily_totals.log_lines + excluded.log_lines, duration_ms = daily_totals.duration_ms + excluded.duration_ms
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- steps: counts the workflows that were made and deleted
WITH step AS MATERIALIZED (
  SELECT id, user_id, created_at, deleted_at FROM workflows WHERE id > $1::uuid ORDER BY id LIMIT $2
), by_hour AS (
  INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
  SELECT user_id, what, date_trunc('hour', at, 'UTC') AS hour, -1, count(*), 0, 0
  FROM step, LATERAL (VALUES ('WORKFLOW_CREATED', created_at), ('WORKFLOW_DELETED', deleted_at)) happened (what, at)
  WHERE at IS NOT NULL AND NOT EXISTS (
    SELECT FROM counted_meanwhile WHERE counted_meanwhile.id = step.id AND counted_meanwhile.what = happened.what)
  GROUP BY user_id, what, hour
  ON CONFLICT (scope_id, what, hour, bucket) DO UPDATE SET count = totals.count + excluded.count
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;

-- part: leaves the counting of jobs to this version's workers
DROP TRIGGER jobs_ended_meanwhile ON jobs;
DROP TRIGGER workflows_created_meanwhile ON workflows;
DROP TRIGGER workflows_deleted_meanwhile ON workflows;
DROP FUNCTION count_job_meanwhile;
DROP FUNCTION note_workflow_meanwhile;
DROP TABLE counted_meanwhile;
