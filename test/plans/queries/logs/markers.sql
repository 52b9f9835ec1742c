-- db/logs/markers.ts

-- openEnds

SELECT /* openEnds */ id FROM ((SELECT id FROM jobs_other AS jobs WHERE id > $1 AND log_open
  AND completed_at < now() - make_interval(secs => $2)
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3)) AS jobs ORDER BY id;

SELECT /* openEnds */ id FROM (SELECT * FROM ((SELECT id FROM jobs_20261129 AS jobs WHERE id > $1 AND log_open AND completed_at < now() - make_interval(secs => $2) ORDER BY id ASC LIMIT $3) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE id > $4 AND log_open AND completed_at < now() - make_interval(secs => $5) ORDER BY id ASC LIMIT $6) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE id > $7 AND log_open AND completed_at < now() - make_interval(secs => $8) ORDER BY id ASC LIMIT $9) UNION ALL (SELECT id FROM jobs_20261129 AS jobs WHERE id > $10 AND log_open AND completed_at < now() - make_interval(secs => $11) ORDER BY id ASC LIMIT $12) UNION ALL (SELECT id FROM jobs_other AS jobs WHERE id > $13 AND log_open AND completed_at < now() - make_interval(secs => $14) AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $15)) AS jobs ORDER BY id ASC LIMIT $16) AS jobs ORDER BY id;

SELECT /* openEnds */ id FROM builds WHERE id > $1 AND log_open
  AND completed_at < now() - make_interval(secs => $2) ORDER BY id LIMIT $3;

-- settleMarkers

WITH /* settleMarkers */ given AS MATERIALIZED (
    SELECT id, max(epoch) AS epoch, bool_or(epoch IS NULL) AS ends
    FROM unnest($1::uuid[], $2::integer[]) AS u (id, epoch) GROUP BY id ORDER BY id
  ), locked AS MATERIALIZED (
    SELECT given.id, given.epoch, source.log_line_count, source.log_open
      AND given.ends AS closes FROM given, LATERAL (
      SELECT log_line_count, log_open FROM jobs_20261129 AS jobs WHERE id = given.id
        AND (log_open AND given.ends OR log_attempt < given.epoch
          AND (log_open OR completed_at IS NULL))
      LIMIT 1 FOR NO KEY UPDATE) source
  ), settled AS (
    UPDATE jobs_20261129 AS jobs
    SET log_attempt = CASE WHEN u.closes THEN jobs.attempt + jobs.adoptions + 1 ELSE u.epoch END,
      log_open = jobs.log_open AND NOT u.closes,
      log_line_count = greatest(u.log_line_count, (SELECT coalesce(max(last_number),
        0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], u.id))))
    FROM locked AS u WHERE jobs.id = ANY(ARRAY[u.id])
    RETURNING jobs.*, u.closes, jobs.log_line_count - u.log_line_count AS more_lines
  ), counted AS (
INSERT INTO totals_pending (at, weight, user_ids, workflow_ids, whats, started_ats, log_lines)
SELECT completed_at, 0, ARRAY[user_id], ARRAY[workflow_id], ARRAY[status], ARRAY[started_at],
  ARRAY[more_lines]
FROM settled WHERE completed_at IS NOT NULL AND more_lines > 0)
  SELECT id, user_id FROM settled WHERE closes;

WITH /* settleMarkers */ given AS MATERIALIZED (
  SELECT id, max(epoch) AS epoch, bool_or(epoch IS NULL) AS ends
  FROM unnest($1::uuid[], $2::integer[]) AS u (id, epoch) GROUP BY id ORDER BY id
), locked AS MATERIALIZED (
  SELECT given.id, given.epoch, source.log_line_count, source.log_open
    AND given.ends AS closes FROM given, LATERAL (
    SELECT log_line_count, log_open FROM builds AS builds WHERE id = given.id
      AND (log_open AND given.ends OR log_attempt < given.epoch
        AND (log_open OR completed_at IS NULL))
    LIMIT 1 FOR NO KEY UPDATE) source
), settled AS (
  UPDATE builds AS builds
  SET log_attempt = CASE WHEN u.closes THEN builds.attempt + 1 ELSE u.epoch END,
    log_open = builds.log_open AND NOT u.closes,
    log_line_count = greatest(u.log_line_count, (SELECT coalesce(max(last_number),
      0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], u.id))))
  FROM locked AS u WHERE builds.id = ANY(ARRAY[u.id])
  RETURNING builds.*, u.closes, builds.log_line_count - u.log_line_count AS more_lines
)
SELECT id, user_id FROM settled WHERE closes;

-- settledLines

SELECT /* settledLines */ log_line_count AS lines FROM builds WHERE id = $1 AND log_attempt >= $2;

SELECT /* settledLines */ log_line_count AS lines FROM jobs_20261129 AS jobs WHERE id = $1
  AND log_attempt >= $2;
