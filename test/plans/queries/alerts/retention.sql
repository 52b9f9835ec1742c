-- db/alerts/retention.ts

-- removeDeletedChannels

DELETE /* removeDeletedChannels */ FROM alert_channels WHERE id = ANY(ARRAY(
SELECT id FROM alert_channels c WHERE deleted_at < now() - make_interval(days => $1)
  AND NOT EXISTS (SELECT FROM alert_deliveries WHERE channel_id = c.id OFFSET 0)
ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING 1;

-- removeOldDeliveries

WITH /* removeOldDeliveries */ old AS (
  DELETE FROM alert_deliveries WHERE id = ANY(ARRAY(
    SELECT id FROM alert_deliveries WHERE id < (lpad(to_hex(greatest(0,
      extract(epoch FROM now() - make_interval(days => $1)) * 1000)::bigint), 12,
      '0') || repeat('0', 20))::uuid ORDER BY id LIMIT $2
    FOR UPDATE SKIP LOCKED)) RETURNING id
), queued AS (
  DELETE FROM alert_due USING old WHERE delivery_id = ANY(ARRAY[old.id])
)
SELECT 1 FROM old;

-- removeOldIncidents

DELETE /* removeOldIncidents */ FROM incidents WHERE id = ANY(ARRAY(
SELECT id FROM incidents WHERE resolved_at < now() - make_interval(days => $1) ORDER BY resolved_at LIMIT $2
FOR UPDATE SKIP LOCKED)) RETURNING 1;

-- removeOldOutages

DELETE /* removeOldOutages */ FROM outages WHERE id = ANY(ARRAY(
SELECT id FROM outages WHERE ended_at < now() - make_interval(days => $1) ORDER BY ended_at LIMIT $2
FOR UPDATE SKIP LOCKED)) RETURNING 1;
