-- db/jobs/replan.ts

-- replanSlots

SELECT /* replanSlots */ workflow_id, (first_at IS NOT NULL OR is_last)
  AND planned_at IS DISTINCT FROM next_run_at AS is_other FROM schedules s 
  LEFT JOIN LATERAL (
    SELECT occurrences[width_bucket(greatest(CASE WHEN width_bucket(s.last_slot_at,
      occurrences) - width_bucket(now(), occurrences) = 1 THEN s.last_slot_at ELSE now() END,
      s.starts_at - interval '1 microsecond'), occurrences) + 1] AS first_at, is_last
    FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true,
    LATERAL (SELECT CASE WHEN first_at >= s.ends_at THEN NULL ELSE first_at END AS planned_at) planned
WHERE workflow_id > $1 AND calendar_id IS NOT NULL
  AND next_run_at > now() ORDER BY workflow_id LIMIT $2;

WITH /* replanSlots */ locked AS MATERIALIZED (
  SELECT workflow_id, next_run_at, last_slot_at, calendar_id, starts_at, ends_at FROM schedules
  WHERE workflow_id = ANY($1::uuid[]) AND calendar_id IS NOT NULL
    AND next_run_at > now() ORDER BY workflow_id FOR UPDATE
), planned AS MATERIALIZED (
  SELECT workflow_id, planned_at FROM locked s
  LEFT JOIN LATERAL (
    SELECT occurrences[width_bucket(greatest(CASE WHEN width_bucket(s.last_slot_at,
      occurrences) - width_bucket(now(), occurrences) = 1 THEN s.last_slot_at ELSE now() END,
      s.starts_at - interval '1 microsecond'), occurrences) + 1] AS first_at, is_last
    FROM calendars WHERE id = ANY(ARRAY[s.calendar_id]) LIMIT 1
  ) calendar ON true,
    LATERAL (SELECT CASE WHEN first_at >= s.ends_at THEN NULL ELSE first_at END AS planned_at) planned WHERE (first_at IS NOT NULL OR is_last) AND planned_at IS DISTINCT FROM next_run_at
)
UPDATE schedules SET next_run_at = planned_at, wake_at = now() FROM planned
WHERE schedules.workflow_id = ANY(ARRAY[planned.workflow_id]) RETURNING 1;
