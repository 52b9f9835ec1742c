-- The rows of jobs lie in a partition for each day on which they were made, in UTC, as the lines of their logs do: so the indexes that each new job
-- is added to stay as small as a day, however long the history is, and retention drops whole days.
-- The rows that are there stay where they are, in jobs_other, the default partition. A constraint lets it take no job from the day after tomorrow
-- on, so that PostgreSQL need not read it when a day is added: the days begin there (today in a new installation). A job whose id is of a time far
-- ahead, which no clock that is right has made, may stay in it too.
-- Processes of the version before go on. While they do, PostgreSQL 18 may choose partitions in statements that lock rows (docs/decisions/0054).
-- Locks for a moment: jobs (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading jobs once, ten seconds for ten million.

-- part: makes the table of jobs the default partition of a new one
ALTER TABLE jobs RENAME TO jobs_other;
ALTER INDEX jobs_pkey RENAME TO jobs_other_pkey;
ALTER INDEX jobs_user RENAME TO jobs_other_user;
ALTER INDEX jobs_workflow RENAME TO jobs_other_workflow;
ALTER INDEX jobs_open_log RENAME TO jobs_other_open_log;
ALTER INDEX jobs_negative_log_attempt RENAME TO jobs_other_negative_log_attempt;
CREATE TABLE jobs (LIKE jobs_other INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id);
ALTER TABLE jobs ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
CREATE INDEX jobs_user ON jobs (user_id, id);
CREATE INDEX jobs_workflow ON jobs (workflow_id, id);
CREATE INDEX jobs_open_log ON jobs (id) WHERE log_open;
CREATE INDEX jobs_negative_log_attempt ON jobs (id) WHERE log_attempt < 0;
ALTER TABLE jobs ATTACH PARTITION jobs_other DEFAULT;
DROP TRIGGER jobs_negative_log_attempt ON jobs_other;
CREATE TRIGGER jobs_negative_log_attempt AFTER UPDATE OF log_attempt ON jobs
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION open_logs_of_negative_attempts();

-- part: says which ids the default partition may have
DO $$
DECLARE
  today timestamptz := date_trunc('day', now(), 'UTC');
  first_day timestamptz := today;
  last_day timestamptz := '2100-01-01Z';
  found uuid;
BEGIN
  SELECT id INTO found FROM jobs_other
  WHERE id < (lpad(to_hex((extract(epoch FROM today + interval '8 days') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid ORDER BY id DESC LIMIT 1;
  IF found IS NOT NULL THEN
    first_day := greatest(today + interval '2 days', interval '1 day' + date_trunc('day',
      to_timestamp(('x' || left(replace(found::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC'));
  END IF;
  SELECT id INTO found FROM jobs_other
  WHERE id >= (lpad(to_hex((extract(epoch FROM first_day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid ORDER BY id LIMIT 1;
  IF found IS NOT NULL THEN
    last_day := least(last_day, date_trunc('day',
      to_timestamp(('x' || left(replace(found::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC'));
  END IF;
  EXECUTE format('ALTER TABLE jobs_other ADD CONSTRAINT jobs_other_days CHECK (id < %L OR id >= %L) NOT VALID',
    lpad(to_hex((extract(epoch FROM first_day) * 1000)::bigint), 12, '0') || repeat('0', 20),
    lpad(to_hex((extract(epoch FROM last_day) * 1000)::bigint), 12, '0') || repeat('0', 20));
END $$;

-- part: checks that of all jobs
ALTER TABLE jobs_other VALIDATE CONSTRAINT jobs_other_days;
