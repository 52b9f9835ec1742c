-- db/alerts/queue.ts

-- claimChannels

WITH RECURSIVE /* claimChannels */ waiting AS (
  (SELECT channel_id FROM alert_due ORDER BY channel_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.channel_id FROM alert_due d WHERE d.channel_id > w.channel_id ORDER BY d.channel_id LIMIT 1)
  FROM waiting w WHERE w.channel_id IS NOT NULL
), ready AS MATERIALIZED (
  SELECT c.id, may_send FROM waiting w, LATERAL (
      SELECT * FROM alert_channels WHERE id = ANY(ARRAY[w.channel_id])
        AND (lease_expires_at >= now()) IS NOT TRUE LIMIT 1
    ) c, LATERAL (
      SELECT is_urgent,
        queued_at FROM alert_due WHERE channel_id = w.channel_id ORDER BY is_urgent DESC,
        delivery_id LIMIT 1
    ) first, LATERAL (
      SELECT queued_at FROM alert_due WHERE channel_id = w.channel_id ORDER BY is_urgent,
        delivery_id DESC LIMIT 1
    ) newest, LATERAL (
      SELECT (c.hold_until > now()) IS NOT TRUE
        AND (c.kind = 'WEBHOOK' OR c.state = 'UNCONFIRMED' OR first.queued_at <= now() - make_interval(secs => $1))
        AND ((c.retry_at > now()) IS NOT TRUE OR newest.queued_at > c.attempted_at
          AND c.attempted_at < now() - make_interval(secs => $2)) AS may_send
    ) judged
  WHERE first.is_urgent OR may_send
  ORDER BY first.is_urgent DESC, first.queued_at LIMIT $3
), locked AS MATERIALIZED (
  SELECT id FROM alert_channels WHERE id = ANY(ARRAY(SELECT id FROM ready))
    AND (lease_expires_at >= now()) IS NOT TRUE
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE alert_channels SET lease_token = gen_random_uuid(), lease_owner = $4,
  lease_expires_at = clock_timestamp() + make_interval(secs => $5),
  retry_at = CASE WHEN may_send THEN NULL ELSE retry_at END
FROM locked JOIN ready USING (id) WHERE alert_channels.id = ANY(ARRAY[locked.id])
RETURNING alert_channels.id, lease_token;

-- digest

SELECT /* digest */ delivery_id AS id,
  (count(*) OVER ())::integer AS count FROM alert_due WHERE digest_id = $1
ORDER BY delivery_id LIMIT $2;

-- drop

WITH /* drop */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = $1 RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'FAILED',
  last_error = $2 FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- expire

WITH /* expire */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY(ARRAY(
    SELECT delivery_id FROM alert_due WHERE channel_id = $1 AND is_urgent = $2
      AND queued_at < now() - make_interval(hours => $3)
    ORDER BY is_urgent DESC, delivery_id LIMIT $4)) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'EXPIRED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- incidentEnd

SELECT /* incidentEnd */ id, event FROM alert_deliveries WHERE incident_id = $1 AND channel_id = $2
AND event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED', 'PLATFORM_RECOVERED')
  AND status = 'PENDING' LIMIT 1;

-- makeDigest

UPDATE /* makeDigest */ alert_due SET digest_id = $1 WHERE delivery_id = ANY(ARRAY(
SELECT delivery_id FROM alert_due WHERE channel_id = $2 AND NOT is_urgent AND digest_id IS NULL
ORDER BY is_urgent DESC, delivery_id LIMIT $3));

WITH /* makeDigest */ reported AS MATERIALIZED (
  SELECT d.id, d.event, d.incident_id FROM alert_due due,
    LATERAL (SELECT * FROM alert_deliveries WHERE id = ANY(ARRAY[due.delivery_id]) LIMIT 1) d
  WHERE due.digest_id = $1
), gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY(ARRAY(
    SELECT id FROM reported WHERE event IN ('WORKFLOW_FAILING', 'PLATFORM_OUTAGE')
      AND incident_id IN (
      SELECT incident_id FROM reported WHERE event IN ('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED',
        'PLATFORM_RECOVERED')))) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'MERGED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- merge

WITH /* merge */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY($1::uuid[]) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'MERGED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- nextStep

SELECT /* nextStep */ d.id, d.event, d.incident_id, due.is_urgent, due.digest_id,
  due.queued_at < now() - CASE WHEN is_urgent THEN make_interval(secs => $1) ELSE make_interval(hours => $2) END AS is_expired,
  due.queued_at <= now() - make_interval(secs => $3) AS is_gathered
FROM (
  SELECT * FROM alert_due WHERE channel_id = $4 ORDER BY is_urgent DESC, delivery_id LIMIT $5
) due, LATERAL (SELECT * FROM alert_deliveries WHERE id = ANY(ARRAY[due.delivery_id]) LIMIT 1) d
ORDER BY due.is_urgent DESC, due.delivery_id;

UPDATE /* nextStep */ alert_channels SET lease_expires_at = clock_timestamp() + make_interval(secs => $1) WHERE id = $2 AND lease_token = $3
RETURNING id, user_id, name, kind, config, confirmation, include_log, state,
  deleted_at IS NOT NULL AS is_deleted, coalesce(retry_at > now(),
    false) OR coalesce(hold_until > now(), false) AS waits,
  extract(epoch FROM digested_at + make_interval(secs => $4) - now())::float8 AS digest_wait;

-- release

UPDATE /* release */ alert_channels SET lease_token = NULL, lease_owner = NULL,
  lease_expires_at = NULL,
  hold_until = CASE WHEN $1::float8 IS NULL THEN hold_until ELSE now() + make_interval(secs => $2::float8) END
WHERE id = $3;

-- releaseChannel

UPDATE /* releaseChannel */ alert_channels SET lease_token = NULL, lease_owner = NULL,
  lease_expires_at = NULL
WHERE id = $1 AND lease_token = $2;
