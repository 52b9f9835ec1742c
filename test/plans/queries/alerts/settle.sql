-- db/alerts/settle.ts

-- disable

INSERT /* disable */ INTO notifications (id, user_id, kind, detail)
SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, id, 'CHANNEL_DISABLED',
  $1 FROM users WHERE id = $2 AND notification_preference <> 'NONE'
RETURNING id;

UPDATE /* disable */ alert_channels SET state = 'DISABLED', disabled_reason = $1, retry_at = NULL,
  hold_until = NULL,
  first_failed_at = NULL, failure_count = 0, rejection_count = 0
WHERE id = $2;

WITH /* disable */ gone AS (
  DELETE FROM alert_due WHERE channel_id = $1 AND NOT is_urgent RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'FAILED', last_error = 'The channel was disabled.'
FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

WITH /* disable */ recorded AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event, detail, status)
  SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
    '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, id, user_id, 'CHANNEL_DISABLED', $1,
    'PENDING' FROM alert_channels
  WHERE user_id = $2 AND id <> $3 AND deleted_at IS NULL AND state = 'ACTIVE'
    AND 'CHANNEL_DISABLED' = ANY(events)
  RETURNING id, channel_id
)
INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM recorded;

-- endDeliveries

WITH /* endDeliveries */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY($1::uuid[]) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'DELIVERED', attempt = attempt + 1,
  delivered_at = CASE WHEN 'DELIVERED' = 'DELIVERED' THEN now() END,
  last_status = $2, last_error = $3
FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

WITH /* endDeliveries */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY($1::uuid[]) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'FAILED', attempt = attempt + 1,
  delivered_at = CASE WHEN 'FAILED' = 'DELIVERED' THEN now() END,
  last_status = $2, last_error = $3
FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

WITH /* endDeliveries */ gone AS (
  DELETE FROM alert_due WHERE digest_id = $1::uuid RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'DELIVERED', attempt = attempt + 1,
  delivered_at = CASE WHEN 'DELIVERED' = 'DELIVERED' THEN now() END,
  last_status = $2, last_error = $3
FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

WITH /* endDeliveries */ gone AS (
  DELETE FROM alert_due WHERE digest_id = $1::uuid RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'FAILED', attempt = attempt + 1,
  delivered_at = CASE WHEN 'FAILED' = 'DELIVERED' THEN now() END,
  last_status = $2, last_error = $3
FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- expireReported

WITH /* expireReported */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = ANY($1::uuid[]) RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'EXPIRED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

WITH /* expireReported */ gone AS (
  DELETE FROM alert_due WHERE digest_id = $1::uuid RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'EXPIRED' FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- hold

UPDATE /* hold */ alert_channels SET hold_until = now() + make_interval(secs => $1) WHERE id = $2;

-- noteFailure

UPDATE /* noteFailure */ alert_deliveries SET attempt = attempt + $1, last_status = $2,
  last_error = $3
WHERE id = ANY(ARRAY(SELECT delivery_id FROM alert_due WHERE delivery_id = ANY($4::uuid[])));

UPDATE /* noteFailure */ alert_deliveries SET attempt = attempt + $1, last_status = $2,
  last_error = $3
WHERE id = ANY(ARRAY(SELECT delivery_id FROM alert_due WHERE digest_id = $4::uuid));

-- rejected

UPDATE /* rejected */ alert_channels SET rejection_count = $1, attempted_at = now() WHERE id = $2;

-- retryLater

UPDATE /* retryLater */ alert_channels SET retry_at = now() + make_interval(secs => $1),
  attempted_at = now(),
  first_failed_at = coalesce(first_failed_at, now()), failure_count = failure_count + 1
WHERE id = $2;

-- secondsLeft

SELECT /* secondsLeft */ extract(epoch FROM min(queued_at) + make_interval(hours => $1) - now())::float8 AS seconds
FROM alert_due WHERE delivery_id = ANY($2::uuid[]);

SELECT /* secondsLeft */ extract(epoch FROM min(queued_at) + make_interval(hours => $1) - now())::float8 AS seconds
FROM alert_due WHERE digest_id = $2::uuid;

-- settleMessage

SELECT /* settleMessage */ id, user_id, name, kind, state, failure_count, rejection_count,
  coalesce(extract(epoch FROM now() - first_failed_at), 0)::float8 AS failed_for,
  first_failed_at < now() - make_interval(days => $1) AS failed_for_days
FROM alert_channels WHERE id = $2 AND lease_token = $3 FOR NO KEY UPDATE;

UPDATE /* settleMessage */ alert_channels SET retry_at = NULL, hold_until = NULL,
  attempted_at = now(), first_failed_at = NULL,
  failure_count = 0, rejection_count = 0, digested_at = CASE WHEN $1 THEN now() ELSE digested_at END
WHERE id = $2;
