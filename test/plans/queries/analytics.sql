-- db/analytics.ts

-- areTotalsDue

SELECT /* areTotalsDue */ coalesce(max(at) <= now() - make_interval(secs => $1)
  OR min(at) <= now() - make_interval(secs => $2) OR sum(pg_column_size(log_lines)) / 4 >= $3,
    false) AS due
FROM totals_pending;

-- readTotals

SELECT /* readTotals */ scope_id, what, bucket, sum(count)::float8 AS count,
  sum(log_lines)::float8 AS log_lines,
  sum(duration_ms)::float8 AS duration_ms
FROM (
  SELECT scope_id, what, bucket, count, log_lines,
    duration_ms FROM totals WHERE scope_id = ANY($1::uuid[]) AND what = ANY(ARRAY['COMPLETED',
    'FAILED', 'CANCELED']) AND hour >= $2::timestamptz
    AND hour < $3::timestamptz UNION ALL SELECT scope_id, what, bucket, count, log_lines,
    duration_ms FROM totals WHERE scope_id = ANY($4::uuid[]) AND what = ANY(ARRAY['COMPLETED',
    'FAILED', 'CANCELED']) AND hour >= $5::timestamptz
    AND hour < $6::timestamptz UNION ALL SELECT user_id AS scope_id, what, bucket, count,
    log_lines, duration_ms FROM daily_totals
WHERE user_id = ANY($7::uuid[]) AND what = ANY(ARRAY['COMPLETED', 'FAILED', 'CANCELED'])
  AND day >= $8::timestamptz AND day < $9::timestamptz UNION ALL SELECT scope_id, what, bucket,
  count, log_lines, duration_ms FROM totals WHERE scope_id = ANY($10::uuid[])
  AND what = 'WORKFLOW_CREATED' AND hour < $11::timestamptz UNION ALL SELECT scope_id, what,
  bucket, count, log_lines, duration_ms FROM totals WHERE scope_id = ANY($12::uuid[])
  AND what = 'WORKFLOW_DELETED' AND hour < $13::timestamptz
  UNION ALL SELECT scope_id, what, bucket, count, log_lines, duration_ms FROM (
SELECT scope.id AS scope_id, of_user, what, date_trunc('hour', at, 'UTC') AS hour,
  duration_bucket(ms) AS bucket, weight::bigint AS count,
  lines::bigint AS log_lines, weight * coalesce(ms, 0) AS duration_ms
FROM (SELECT * FROM totals_pending WHERE user_ids && $14::uuid[] OR workflow_ids && $15::uuid[]) AS pending,
  LATERAL unnest(user_ids, workflow_ids, whats, started_ats, pending.log_lines) AS e (user_id,
    workflow_id, what, started_at, lines),
  LATERAL (VALUES (user_id, true), (workflow_id, false)) AS scope (id, of_user),
  LATERAL (SELECT duration_ms(started_at, at) AS ms OFFSET 0) AS duration -- once, not for each column that it is in
WHERE scope.id IS NOT NULL) happened
  WHERE scope_id = ANY($16::uuid[])
    AND CASE what WHEN 'WORKFLOW_CREATED' THEN hour < $17::timestamptz
    WHEN 'WORKFLOW_DELETED' THEN hour < $18::timestamptz ELSE hour >= $19::timestamptz
      AND hour < $20::timestamptz END
) totals
GROUP BY scope_id, what, bucket;

SELECT /* readTotals */ scope_id, what, bucket, sum(count)::float8 AS count,
  sum(log_lines)::float8 AS log_lines,
  sum(duration_ms)::float8 AS duration_ms
FROM (
  SELECT scope_id, what, bucket, count, log_lines,
    duration_ms FROM totals WHERE scope_id = ANY($1::uuid[]) AND what = ANY(ARRAY['COMPLETED',
    'FAILED', 'CANCELED']) AND hour >= $2::timestamptz AND hour < $3::timestamptz
  UNION ALL SELECT scope_id, what, bucket, count, log_lines, duration_ms FROM (
SELECT scope.id AS scope_id, of_user, what, date_trunc('hour', at, 'UTC') AS hour,
  duration_bucket(ms) AS bucket, weight::bigint AS count,
  lines::bigint AS log_lines, weight * coalesce(ms, 0) AS duration_ms
FROM (SELECT * FROM totals_pending WHERE user_ids && $4::uuid[] OR workflow_ids && $5::uuid[]) AS pending,
  LATERAL unnest(user_ids, workflow_ids, whats, started_ats, pending.log_lines) AS e (user_id,
    workflow_id, what, started_at, lines),
  LATERAL (VALUES (user_id, true), (workflow_id, false)) AS scope (id, of_user),
  LATERAL (SELECT duration_ms(started_at, at) AS ms OFFSET 0) AS duration -- once, not for each column that it is in
WHERE scope.id IS NOT NULL) happened
  WHERE scope_id = ANY($6::uuid[]) AND CASE what WHEN 'WORKFLOW_CREATED' THEN hour < $7::timestamptz
    WHEN 'WORKFLOW_DELETED' THEN hour < $8::timestamptz ELSE hour >= $9::timestamptz
      AND hour < $10::timestamptz END
) totals
GROUP BY scope_id, what, bucket;

-- rollUpTotals

WITH /* rollUpTotals */ chosen AS MATERIALIZED (
  SELECT id FROM totals_pending ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), taken AS MATERIALIZED (
  DELETE FROM totals_pending USING chosen WHERE totals_pending.id = ANY(ARRAY[chosen.id]) RETURNING totals_pending.*
), happened AS MATERIALIZED (
  SELECT scope_id, of_user, what, hour, bucket, sum(count) AS count, sum(log_lines) AS log_lines,
    sum(duration_ms) AS duration_ms
  FROM (
SELECT scope.id AS scope_id, of_user, what, date_trunc('hour', at, 'UTC') AS hour,
  duration_bucket(ms) AS bucket, weight::bigint AS count,
  lines::bigint AS log_lines, weight * coalesce(ms, 0) AS duration_ms
FROM taken AS pending,
  LATERAL unnest(user_ids, workflow_ids, whats, started_ats, pending.log_lines) AS e (user_id,
    workflow_id, what, started_at, lines),
  LATERAL (VALUES (user_id, true), (workflow_id, false)) AS scope (id, of_user),
  LATERAL (SELECT duration_ms(started_at, at) AS ms OFFSET 0) AS duration -- once, not for each column that it is in
WHERE scope.id IS NOT NULL) happened GROUP BY scope_id, of_user, what, hour, bucket
), rolled_up AS (
  INSERT INTO totals (scope_id, what, hour, bucket, count, log_lines, duration_ms)
  SELECT scope_id, what, hour, bucket, count, log_lines, duration_ms FROM happened
  ORDER BY scope_id, what, hour, bucket
  ON CONFLICT (scope_id, what, hour, bucket) DO UPDATE SET count = totals.count + excluded.count,
    log_lines = totals.log_lines + excluded.log_lines,
      duration_ms = totals.duration_ms + excluded.duration_ms
), rolled_up_days AS (
  INSERT INTO daily_totals (user_id, what, day, bucket, count, log_lines, duration_ms)
  SELECT scope_id, what, date_trunc('day', hour, 'UTC') AS day, bucket, sum(count), sum(log_lines),
    sum(duration_ms)
  FROM happened WHERE of_user AND what = ANY(ARRAY['COMPLETED', 'FAILED', 'CANCELED'])
  GROUP BY scope_id, what, day, bucket ORDER BY scope_id, what, day, bucket
  ON CONFLICT (user_id, what, day,
    bucket) DO UPDATE SET count = daily_totals.count + excluded.count,
    log_lines = daily_totals.log_lines + excluded.log_lines,
      duration_ms = daily_totals.duration_ms + excluded.duration_ms
)
SELECT count(*)::integer AS taken FROM taken;
