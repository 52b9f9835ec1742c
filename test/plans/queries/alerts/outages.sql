-- db/alerts/outages.ts

-- beginEngineOutages

WITH /* beginEngineOutages */ changed AS (
  INSERT INTO outages (id, kind, place, host, detail, began_at)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, 'ENGINE', engine_id,
    (array_agg(host ORDER BY (stopped_at IS NULL
    AND seen_at > now() - make_interval(secs => $1)) DESC, seen_at DESC))[1], $2,
    max(engine_seen_at)
  FROM workers WHERE name = 'workflow' AND engine_id IS NOT NULL
  GROUP BY engine_id HAVING bool_or(stopped_at IS NULL
    AND seen_at > now() - make_interval(secs => $3))
    AND max(engine_seen_at) < now() - make_interval(secs => $4)
  ORDER BY engine_id
  ON CONFLICT (kind, place) WHERE ended_at IS NULL DO NOTHING RETURNING id, detail
), recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, incident_id, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, u.id, 'PLATFORM_OUTAGE',
    changed.id, changed.detail, 'PENDING'
  FROM changed CROSS JOIN (SELECT id FROM users WHERE administrator
    AND disabled_at IS NULL OFFSET 0) u CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c
    WHERE c.user_id = u.id AND c.deleted_at IS NULL AND c.state = 'ACTIVE'
      AND 'PLATFORM_OUTAGE' = ANY(c.events) AND c.is_default OFFSET 0
  ) channel
  RETURNING id, channel_id
), queued AS (
  INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded
)
SELECT 1 FROM changed;

-- beginOutage

WITH /* beginOutage */ changed AS (
  INSERT INTO outages (id, kind, place, host, detail, began_at)
  VALUES ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, left($4, $5),
    now() - make_interval(secs => $6))
  ON CONFLICT (kind, place) WHERE ended_at IS NULL DO NOTHING RETURNING id, detail
), recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, incident_id, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, u.id, 'PLATFORM_OUTAGE',
    changed.id, changed.detail, 'PENDING'
  FROM changed CROSS JOIN (SELECT id FROM users WHERE administrator
    AND disabled_at IS NULL OFFSET 0) u CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c
    WHERE c.user_id = u.id AND c.deleted_at IS NULL AND c.state = 'ACTIVE'
      AND 'PLATFORM_OUTAGE' = ANY(c.events) AND c.is_default OFFSET 0
  ) channel
  RETURNING id, channel_id
), queued AS (
  INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded
)
SELECT 1 FROM changed;

-- endLeftOutages

WITH /* endLeftOutages */ judged AS MATERIALIZED (
  SELECT o.id, CASE
      WHEN engine.answers THEN 'RECOVERED'
      WHEN engine.is_awaited THEN NULL
      WHEN engine.is_stopped OR o.began_at < now() - make_interval(days => $1)
        AND NOT here.is_known THEN 'GONE'
    END AS resolution
  FROM outages o, LATERAL (
    SELECT bool_or(engine_id = o.place AND (stopped_at IS NULL
      AND seen_at > now() - make_interval(secs => $2))
      AND engine_seen_at > now() - make_interval(secs => $3)) AS answers,
      bool_or(engine_id IS NULL AND host = o.host AND (stopped_at IS NULL
        AND seen_at > now() - make_interval(secs => $4))) AS is_awaited,
      bool_and((stopped_at < now() - make_interval(secs => $5)) IS TRUE) FILTER (WHERE engine_id = o.place) AS is_stopped
    FROM workers WHERE name = 'workflow' AND o.kind = 'ENGINE'
  ) engine, LATERAL (
    SELECT EXISTS (SELECT FROM workers WHERE CASE o.kind WHEN 'ENGINE' THEN engine_id = o.place ELSE name = 'execution' AND host = o.place END) AS is_known
  ) here
  WHERE o.ended_at IS NULL
), locked AS MATERIALIZED (
  SELECT id FROM outages WHERE id = ANY(ARRAY(SELECT id FROM judged WHERE resolution IS NOT NULL)) AND ended_at IS NULL
  ORDER BY id FOR NO KEY UPDATE
), changed AS (
  UPDATE outages SET ended_at = now(),
    resolution = judged.resolution FROM locked JOIN judged USING (id)
  WHERE outages.id = ANY(ARRAY[locked.id]) RETURNING outages.id, NULL AS detail
), recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, incident_id, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, u.id,
    'PLATFORM_RECOVERED', changed.id, changed.detail, 'PENDING'
  FROM changed CROSS JOIN (SELECT id FROM users WHERE administrator
    AND disabled_at IS NULL OFFSET 0) u CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c
    WHERE c.user_id = u.id AND c.deleted_at IS NULL AND c.state = 'ACTIVE'
      AND 'PLATFORM_RECOVERED' = ANY(c.events)
      AND (EXISTS (SELECT FROM alert_deliveries d WHERE d.incident_id = changed.id
      AND d.channel_id = c.id OFFSET 0)
    OR c.is_default AND NOT 'PLATFORM_OUTAGE' = ANY(c.events)) OFFSET 0
  ) channel
  RETURNING id, channel_id
), queued AS (
  INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded
)
SELECT 1 FROM changed;

-- endOutage

WITH /* endOutage */ changed AS (
  UPDATE outages SET ended_at = greatest(began_at, now() - make_interval(secs => $1)),
    resolution = 'RECOVERED'
  WHERE kind = $2 AND place = $3 AND ended_at IS NULL RETURNING id, NULL AS detail
), recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, incident_id, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, channel.id, u.id,
    'PLATFORM_RECOVERED', changed.id, changed.detail, 'PENDING'
  FROM changed CROSS JOIN (SELECT id FROM users WHERE administrator
    AND disabled_at IS NULL OFFSET 0) u CROSS JOIN LATERAL (
    SELECT c.id FROM alert_channels c
    WHERE c.user_id = u.id AND c.deleted_at IS NULL AND c.state = 'ACTIVE'
      AND 'PLATFORM_RECOVERED' = ANY(c.events)
      AND (EXISTS (SELECT FROM alert_deliveries d WHERE d.incident_id = changed.id
      AND d.channel_id = c.id OFFSET 0)
    OR c.is_default AND NOT 'PLATFORM_OUTAGE' = ANY(c.events)) OFFSET 0
  ) channel
  RETURNING id, channel_id
), queued AS (
  INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded
)
SELECT 1 FROM changed;
