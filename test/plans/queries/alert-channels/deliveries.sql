-- db/alert-channels/deliveries.ts

-- expireTest

WITH /* expireTest */ gone AS (
  DELETE FROM alert_due WHERE delivery_id = $1 RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'EXPIRED',
  last_error = $2 FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- lockPresent

select "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log", "state",
  "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token", "lease_owner",
  "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at", "first_failed_at",
  "failure_count", "rejection_count"
from "alert_channels"
where ("alert_channels"."id" = $1 and "alert_channels"."user_id" = $2
  and "alert_channels"."deleted_at" IS NULL)
for no key update /* lockPresent */;

-- queueMessage

WITH /* queueMessage */ made AS (
  INSERT INTO alert_deliveries (id, channel_id, user_id, event,
    status) VALUES ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0),
    12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, $1, $2, $3, 'PENDING')
  RETURNING id, channel_id
)
INSERT INTO alert_due (delivery_id, channel_id, is_urgent) SELECT id, channel_id,
  $4 FROM made RETURNING delivery_id AS id;

-- resendDelivery

UPDATE /* resendDelivery */ alert_channels SET retry_at = NULL WHERE id = $1;

WITH /* resendDelivery */ again AS (
  UPDATE alert_deliveries SET status = 'PENDING', delivered_at = NULL WHERE id = $1
    AND status <> 'PENDING' RETURNING id, channel_id
)
INSERT INTO alert_due (delivery_id, channel_id) SELECT id, channel_id FROM again;

select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name", "job_id",
  "incident_id", "detail", "status", "attempt", "last_status", "last_error", "created_at",
  "delivered_at"
from "alert_deliveries"
where "alert_deliveries"."id" = $1 /* resendDelivery */;
