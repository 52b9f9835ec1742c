-- db/jobs/finish.ts

-- endCounted

SELECT /* endCounted */ FROM schedules WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id FOR UPDATE;

SELECT /* endCounted */ id, CASE WHEN terminated_at IS NULL THEN run_policy->'retry' END AS retry,
  (run_policy->>'expectedMinSeconds')::integer AS min_seconds
FROM workflows WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

UPDATE /* endCounted */ schedules SET paused = true, paused_until = NULL, wake_at = now()
WHERE workflow_id = ANY($1::uuid[]);

UPDATE /* endCounted */ schedules SET state = 'TERMINATED', next_run_at = NULL, wake_at = now()
WHERE workflow_id = ANY($1::uuid[]);

UPDATE /* endCounted */ workflows SET updated_at = now(),
  consecutive_job_failures_count = CASE WHEN u.failed THEN u.failures + 1 ELSE 0 END,
  terminated_at = CASE WHEN u.action = 'TERMINATE' THEN now() END,
  termination_reason = CASE WHEN u.action = 'TERMINATE' THEN 'FAILURES' END,
  skipped_run_count = CASE WHEN u.action = 'TERMINATE' THEN coalesce((
    SELECT s.skipped_run_count FROM schedules s WHERE s.workflow_id = workflows.id),
      0) ELSE workflows.skipped_run_count END,
  paused_at = CASE WHEN u.pauses
    AND NOT u.is_paused THEN now() WHEN NOT u.is_over THEN paused_at END,
  paused_until = CASE WHEN u.pauses IS NOT TRUE AND NOT u.is_over THEN paused_until END,
  pause_reason = CASE WHEN u.pauses THEN 'FAILURES' WHEN NOT u.is_over THEN pause_reason END,
  pause_note = CASE WHEN u.pauses AND NOT u.is_paused OR u.is_over THEN NULL ELSE pause_note END
FROM (
  SELECT u.*, alive.*, action, action = 'PAUSE' AND NOT (is_paused
    AND paused_because = 'FAILURES') AS pauses
  FROM unnest($1::uuid[], $2::boolean[]) AS u (id, failed), LATERAL (
    SELECT CASE WHEN is_over THEN 0 ELSE consecutive_job_failures_count END AS failures, is_over,
      max_consecutive_job_failures_allowed AS allowed, on_too_many_failures,
      paused_at IS NOT NULL AND (paused_until > now()) IS NOT FALSE AS is_paused,
        pause_reason AS paused_because
    FROM workflows, LATERAL ( -- a pause for failures that has ended by itself: as if it had been resumed
      SELECT pause_reason IS NOT DISTINCT FROM 'FAILURES'
        AND (paused_until <= now()) IS TRUE AS is_over) pause
    WHERE id = u.id AND terminated_at IS NULL LIMIT 1) alive,
    LATERAL (SELECT CASE WHEN u.failed
      AND failures + 1 >= allowed THEN on_too_many_failures END AS action) reached
) u
WHERE workflows.id = ANY(ARRAY[u.id])
RETURNING workflows.id, workflows.user_id, terminated_at IS NOT NULL AS terminated,
  NOT u.failed AND u.failures > 0 AS recovered,
  u.pauses IS TRUE AS paused, u.failed, u.failed
    AND u.failures + 1 >= alert_after_failures AS is_incident,
    (muted_until > now()) IS TRUE AS muted,
  CASE WHEN u.failed THEN u.failures + 1 ELSE u.failures END AS failures;

WITH /* endCounted */ ended AS (
  UPDATE jobs_20261129 AS jobs SET status = u.status, updated_at = now(),
    exit_code = u.exit_code, failure_reason = u.failure_reason,
    failure_message = coalesce(u.failure_message || CASE retries WHEN 0 THEN '' WHEN 1 THEN ' It was retried once.' ELSE ' It was retried ' || retries || ' times.' END,
      CASE WHEN u.status = 'CANCELED' THEN jobs.failure_message END),
    log_line_count = u.log_line_count, completed_at = CASE WHEN true THEN now() END,
      lease_token = CASE WHEN false THEN jobs.lease_token END,
      lease_owner = CASE WHEN false THEN jobs.lease_owner END,
      lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = true AND false
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[],
    $7::integer[], $8::integer[], $9::integer[]) AS u (id, lease_token, status, exit_code,
    failure_reason, failure_message, log_line_count, first_number, text)
  WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token RETURNING jobs.id,
    jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at, jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open, jobs.attempt, jobs.awaited,
      u.first_number, u.text),
      stored AS (
INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
SELECT id, first_number, log_line_count, attempt, ($10::bytea[])[text]
FROM ended WHERE text IS NOT NULL
ON CONFLICT (source_id, first_number) DO UPDATE
    SET last_number = excluded.last_number, lines = excluded.lines, attempt = excluded.attempt
    WHERE excluded.last_number > log_chunks.last_number), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0)
    SELECT id, workflow_id, user_id, status, failure_reason, failure_message, log_open, awaited,
      extract(epoch FROM now() - started_at)::float8 AS seconds FROM ended;

-- endUncounted

WITH /* endUncounted */ ended AS (
  UPDATE jobs_20261129 AS jobs SET status = u.status, updated_at = now(),
    exit_code = u.exit_code, failure_reason = u.failure_reason,
    failure_message = coalesce(u.failure_message || CASE retries WHEN 0 THEN '' WHEN 1 THEN ' It was retried once.' ELSE ' It was retried ' || retries || ' times.' END,
      CASE WHEN u.status = 'CANCELED' THEN jobs.failure_message END),
    log_line_count = u.log_line_count, completed_at = CASE WHEN true THEN now() END,
      lease_token = CASE WHEN false THEN jobs.lease_token END,
      lease_owner = CASE WHEN false THEN jobs.lease_owner END,
      lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = true AND false
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[],
    $7::integer[], $8::integer[], $9::integer[]) AS u (id, lease_token, status, exit_code,
    failure_reason, failure_message, log_line_count, first_number, text)
  WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token
    AND (u.status <> 'COMPLETED' OR NOT after_failure)
    RETURNING jobs.id, jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at,
      jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open, jobs.attempt, jobs.awaited,
      u.first_number, u.text
  ), stored AS (
INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
SELECT id, first_number, log_line_count, attempt, ($10::bytea[])[text]
FROM ended WHERE text IS NOT NULL
ON CONFLICT (source_id, first_number) DO UPDATE
    SET last_number = excluded.last_number, lines = excluded.lines, attempt = excluded.attempt
    WHERE excluded.last_number > log_chunks.last_number), counted AS (
INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT array_agg(user_id), array_agg(workflow_id), array_agg(status), array_agg(started_at),
  array_agg(log_line_count)
FROM ended HAVING count(*) > 0),
eager AS MATERIALIZED (
  SELECT id FROM users WHERE id = ANY(ARRAY(SELECT DISTINCT user_id FROM ended))
    AND notification_preference = 'ALL'
), notified AS (
  INSERT INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, ended.user_id, 'JOB_COMPLETED',
    workflows.id, workflows.name, ended.id
  FROM eager JOIN ended ON ended.user_id = eager.id JOIN workflows ON workflows.id = ANY(ARRAY[ended.workflow_id])
  WHERE ended.status = 'COMPLETED'
  RETURNING id, user_id
),
listening AS MATERIALIZED (
  SELECT DISTINCT user_id AS id FROM alert_channels WHERE user_id = ANY(ARRAY(SELECT DISTINCT user_id FROM ended))
    AND deleted_at IS NULL AND state = 'ACTIVE' AND 'JOB_COMPLETED' = ANY(events)
), recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, workflow_id, workflow_name, job_id,
    status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, w.user_id,
    'JOB_COMPLETED', w.id, w.name, ended.id,
    CASE WHEN w.muted_until > now() THEN 'SUPPRESSED' ELSE 'PENDING' END
  FROM listening JOIN ended ON ended.user_id = listening.id JOIN workflows w ON w.id = ANY(ARRAY[ended.workflow_id]) CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c WHERE c.user_id = w.user_id AND c.deleted_at IS NULL
      AND c.state = 'ACTIVE' AND 'JOB_COMPLETED' = ANY(c.events)
      AND CASE WHEN w.has_own_alert_channels THEN EXISTS (
          SELECT FROM workflow_alert_channels own WHERE own.workflow_id = w.id
            AND own.channel_id = c.id OFFSET 0)
        ELSE c.is_default END OFFSET 0
  ) channel
  WHERE ended.status = 'COMPLETED'
  RETURNING id, channel_id, status
), queued AS (INSERT INTO alert_due (delivery_id, channel_id) SELECT id,
  channel_id FROM recorded WHERE status = 'PENDING')
  SELECT user_id, string_agg(id::text, ' ') AS ended,
    coalesce(string_agg(workflow_id::text, ' ') FILTER (WHERE awaited), '') AS awaited,
      '' AS notified
  FROM ended GROUP BY user_id
  UNION ALL SELECT user_id, '', '', string_agg(id::text, ' ') FROM notified GROUP BY user_id;

-- retryJobs

SELECT /* retryJobs */ FROM jobs_20261129 AS jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

UPDATE /* retryJobs */ schedules SET wake_at = least(wake_at, u.retry_at,
  now() + make_interval(secs => $1))
FROM unnest($2::uuid[], $3::timestamptz[]) AS u (workflow_id,
  retry_at) WHERE schedules.workflow_id = ANY(ARRAY[u.workflow_id]);

WITH /* retryJobs */ ended AS (
    UPDATE jobs_20261129 AS jobs SET status = 'PENDING', updated_at = now(), retries = retries + 1,
      retry_at = now() + make_interval(secs =>
        least(least(u.delay_seconds * u.factor ^ retries,
          u.max_delay_seconds) * (0.9 + random() * 0.2), u.max_delay_seconds)),
      started_at = NULL, lost_attempt = NULL,
      failure_message = u.failure_message, log_line_count = u.log_line_count,
        completed_at = CASE WHEN false THEN now() END,
        lease_token = CASE WHEN false THEN jobs.lease_token END,
        lease_owner = CASE WHEN false THEN jobs.lease_owner END,
        lease_expires_at = CASE WHEN false THEN jobs.lease_expires_at END,
    log_open = false AND false
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::integer[],
      $7::integer[], $8::double precision[], $9::double precision[],
      $10::double precision[]) AS u (id, lease_token, failure_message, log_line_count,
      first_number, text, max_retries, delay_seconds, factor, max_delay_seconds)
    WHERE jobs.id = ANY(ARRAY[u.id]) AND jobs.lease_token = u.lease_token
      AND retries < u.max_retries AND cancel_requested_at IS NULL
    RETURNING jobs.id, jobs.workflow_id, jobs.user_id, jobs.status, jobs.started_at,
      jobs.log_line_count,
    jobs.failure_reason, jobs.failure_message, jobs.log_open, jobs.attempt, jobs.awaited,
      u.first_number, u.text, retry_at
  ), stored AS (
INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
SELECT id, first_number, log_line_count, attempt, ($11::bytea[])[text]
FROM ended WHERE text IS NOT NULL
ON CONFLICT (source_id, first_number) DO UPDATE
    SET last_number = excluded.last_number, lines = excluded.lines, attempt = excluded.attempt
    WHERE excluded.last_number > log_chunks.last_number)
  SELECT id, workflow_id, user_id, status, log_open, retry_at FROM ended;
