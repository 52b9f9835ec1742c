-- db/calendars.ts

-- calendarId

INSERT /* calendarId */ INTO calendars (id, key, expressions, time_zone, tz_version, occurrences,
  is_last, refill_at)
VALUES ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2::text[], $3, $4,
  $5::timestamptz[], $6, CASE WHEN NOT $7::boolean THEN now() END)
ON CONFLICT (key) DO UPDATE SET used_at = now() RETURNING id;

SELECT /* calendarId */ id FROM calendars WHERE key = $1 AND used_at > now() - interval '12 hours';

-- extendCalendars

SELECT /* extendCalendars */ id, expressions, time_zone, kept_seconds,
  (extract(epoch FROM now()) * 1000)::float8 AS now_ms, NULL AS kept FROM calendars
WHERE id = ANY($1::uuid[]) AND (tz_version <= $2 OR occurrences[cardinality(occurrences)] <= now());

-- fillCalendars

WITH /* fillCalendars */ u AS MATERIALIZED (
  SELECT id, occurrences::timestamptz[] AS occurrences, is_last
  FROM unnest($1::uuid[], $2::text[], $3::boolean[]) AS u (id, occurrences, is_last)
), locked AS MATERIALIZED (
  SELECT id FROM calendars WHERE id = ANY($4::uuid[])
    AND (tz_version <= $5 OR occurrences[cardinality(occurrences)] <= now()) ORDER BY id FOR NO KEY UPDATE
)
UPDATE calendars SET occurrences = u.occurrences, is_last = u.is_last, tz_version = $6,
  refill_at = CASE WHEN NOT u.is_last THEN u.occurrences[greatest(cardinality(u.occurrences) - $7,
    1)] END
FROM u JOIN locked USING (id) WHERE calendars.id = ANY(ARRAY[u.id]);

-- recomputeCalendars

SELECT /* recomputeCalendars */ id, expressions, time_zone, kept_seconds,
  (extract(epoch FROM now()) * 1000)::float8 AS now_ms, NULL AS kept FROM calendars
WHERE id > $1 AND (tz_version < $2 OR tz_version = $3 AND occurrences[1] > now())
ORDER BY id LIMIT $4;

-- refillCalendars

SELECT /* refillCalendars */ id, expressions, time_zone, kept_seconds,
  (extract(epoch FROM now()) * 1000)::float8 AS now_ms, (
  SELECT array_agg((extract(epoch FROM at) * 1000)::float8 ORDER BY at)
  FROM unnest(occurrences[greatest(width_bucket(now() - make_interval(secs => kept_seconds),
    occurrences),
    width_bucket(now(), occurrences) - $1, 1):]) AS kept (at)) AS kept
FROM calendars WHERE refill_at <= now()
  AND (tz_version <= $2 OR occurrences[cardinality(occurrences)] <= now()) ORDER BY refill_at LIMIT $3;

WITH /* refillCalendars */ locked AS MATERIALIZED (
  SELECT id FROM calendars WHERE id = ANY($1::uuid[])
    AND refill_at <= now() ORDER BY id FOR NO KEY UPDATE
)
UPDATE calendars SET refill_at = now() + make_interval(secs => $2) FROM locked WHERE calendars.id = ANY(ARRAY[locked.id]);

-- removeUnusedCalendars

DELETE /* removeUnusedCalendars */ FROM calendars WHERE id = ANY(ARRAY(
  SELECT id FROM calendars WHERE used_at < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM schedules WHERE calendar_id = calendars.id)
  ORDER BY id FOR UPDATE SKIP LOCKED))
AND used_at < now() - interval '1 day' RETURNING 1;
