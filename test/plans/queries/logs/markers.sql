-- db/logs/markers.ts

-- openEnds

(SELECT /* openEnds */ id FROM jobs WHERE id > $1 AND log_open
  AND completed_at < now() - make_interval(secs => $2) ORDER BY id LIMIT $3) UNION ALL (SELECT id FROM builds WHERE id > $4 AND log_open AND completed_at < now() - make_interval(secs => $5) ORDER BY id LIMIT $6) ORDER BY id LIMIT $7;

-- settleMarkers

WITH /* settleMarkers */ given AS MATERIALIZED (
      SELECT id, max(epoch) AS epoch, bool_or(epoch IS NULL) AS ends
      FROM unnest($1::uuid[], $2::integer[]) AS u (id, epoch) GROUP BY id ORDER BY id
    ), locked AS MATERIALIZED (
      SELECT given.id, given.epoch, source.log_line_count, source.log_open
        AND given.ends AS closes FROM given, LATERAL (
        SELECT log_line_count, log_open FROM "jobs" WHERE id = given.id
          AND (log_open AND given.ends OR log_attempt < given.epoch
            AND (log_open OR completed_at IS NULL))
        LIMIT 1 FOR NO KEY UPDATE) source
    ), settled AS (
      UPDATE "jobs" AS source
      SET log_attempt = CASE WHEN u.closes THEN source.attempt + source.adoptions + 1 ELSE u.epoch END,
        log_open = source.log_open AND NOT u.closes,
        log_line_count = greatest(u.log_line_count, (SELECT coalesce(max(last_number),
          0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], u.id))))
      FROM locked AS u WHERE source.id = u.id
      RETURNING source.*, u.closes, source.log_line_count - u.log_line_count AS more_lines
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
    SELECT log_line_count, log_open FROM "builds" WHERE id = given.id
      AND (log_open AND given.ends OR log_attempt < given.epoch
        AND (log_open OR completed_at IS NULL))
    LIMIT 1 FOR NO KEY UPDATE) source
), settled AS (
  UPDATE "builds" AS source
  SET log_attempt = CASE WHEN u.closes THEN source.attempt + 1 ELSE u.epoch END,
    log_open = source.log_open AND NOT u.closes,
    log_line_count = greatest(u.log_line_count, (SELECT coalesce(max(last_number),
      0) FROM log_chunks WHERE source_id = ANY(array_append(NULL::uuid[], u.id))))
  FROM locked AS u WHERE source.id = u.id
  RETURNING source.*, u.closes, source.log_line_count - u.log_line_count AS more_lines
)
SELECT id, user_id FROM settled WHERE closes;

-- settledLines

SELECT /* settledLines */ log_line_count AS lines FROM jobs WHERE id = $1 AND log_attempt >= $2
UNION ALL SELECT log_line_count FROM builds WHERE id = $3 AND log_attempt >= $4;
