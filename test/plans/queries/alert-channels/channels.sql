-- db/alert-channels/channels.ts

-- change

update "alert_channels"
set "config" = $1
where "alert_channels"."id" = $2
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "config" = $1, "confirmation" = $2
where "alert_channels"."id" = $3
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "config" = $1, "confirmation" = $2, "deleted_at" = now(), "lease_token" = $3,
  "lease_owner" = $4, "lease_expires_at" = $5, "retry_at" = $6, "attempted_at" = $7,
  "hold_until" = $8, "first_failed_at" = $9, "failure_count" = $10, "rejection_count" = $11
where "alert_channels"."id" = $12
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "config" = $1, "events" = $2, "state" = $3, "disabled_reason" = $4, "confirmation" = $5,
  "lease_token" = $6, "lease_owner" = $7, "lease_expires_at" = $8, "retry_at" = $9,
  "attempted_at" = $10, "hold_until" = $11, "first_failed_at" = $12, "failure_count" = $13,
  "rejection_count" = $14
where "alert_channels"."id" = $15
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "confirmation" = $1
where "alert_channels"."id" = $2
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "confirmation" = $1, "lease_token" = $2, "lease_owner" = $3, "lease_expires_at" = $4,
  "retry_at" = $5, "attempted_at" = $6, "hold_until" = $7, "first_failed_at" = $8,
  "failure_count" = $9, "rejection_count" = $10
where "alert_channels"."id" = $11
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "name" = $1, "is_default" = $2
where "alert_channels"."id" = $3
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "state" = $1, "confirmation" = $2, "lease_token" = $3, "lease_owner" = $4,
  "lease_expires_at" = $5, "retry_at" = $6, "attempted_at" = $7, "hold_until" = $8,
  "first_failed_at" = $9, "failure_count" = $10, "rejection_count" = $11
where "alert_channels"."id" = $12
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

update "alert_channels"
set "state" = $1, "disabled_reason" = $2, "retry_at" = $3, "attempted_at" = $4, "hold_until" = $5,
  "first_failed_at" = $6, "failure_count" = $7, "rejection_count" = $8
where "alert_channels"."id" = $9
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* change */;

-- changeChannelSecrets

select "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log", "state",
  "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token", "lease_owner",
  "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at", "first_failed_at",
  "failure_count", "rejection_count"
from "alert_channels"
where "alert_channels"."id" > $1
order by "alert_channels"."id" asc
limit $2
for no key update /* changeChannelSecrets */;

-- createAlertChannel

insert into "alert_channels" ("id", "user_id", "name", "kind", "config", "events", "is_default",
  "include_log", "state", "disabled_reason", "confirmation", "created_at", "deleted_at",
  "lease_token", "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until",
  "digested_at", "first_failed_at", "failure_count", "rejection_count")
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, default, $10, default, default, default, default,
  default, default, default, default, default, default, default, default)
returning "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log",
  "state", "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token",
  "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at",
  "first_failed_at", "failure_count", "rejection_count" /* createAlertChannel */;

select count(*)::integer
from (select 1 as "one"
from "alert_channels"
where ("alert_channels"."user_id" = $1 and "alert_channels"."deleted_at" is null)
limit $2) "counted" /* createAlertChannel */;

-- deleteAlertChannel

SELECT /* deleteAlertChannel */ id FROM workflows WHERE user_id = $1 AND id = ANY(ARRAY(
  SELECT workflow_id FROM workflow_alert_channels WHERE channel_id = $2))
ORDER BY id FOR NO KEY UPDATE;

UPDATE /* deleteAlertChannel */ workflows SET updated_at = now(), has_own_alert_channels =
  EXISTS (SELECT FROM workflow_alert_channels WHERE workflow_id = workflows.id OFFSET 0)
WHERE id = ANY($1::uuid[]);

delete
from "workflow_alert_channels"
where "workflow_alert_channels"."channel_id" = $1 /* deleteAlertChannel */;

-- dropPending

WITH /* dropPending */ gone AS (
  DELETE FROM alert_due WHERE channel_id = $1 RETURNING delivery_id
)
UPDATE alert_deliveries SET status = 'FAILED',
  last_error = $2 FROM gone WHERE id = ANY(ARRAY[gone.delivery_id]);

-- enableAlertChannel

SELECT /* enableAlertChannel */ config = $1::jsonb AS same FROM alert_channels WHERE id = $2;

-- lockChannel

select "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log", "state",
  "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token", "lease_owner",
  "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at", "first_failed_at",
  "failure_count", "rejection_count"
from "alert_channels"
where ("alert_channels"."id" = $1 and "alert_channels"."user_id" = $2
  and "alert_channels"."deleted_at" is null)
for no key update /* lockChannel */;

-- waitForCode

SELECT /* waitForCode */ extract(epoch FROM created_at + interval '1 day' - now())::float8 AS seconds FROM alert_deliveries
WHERE user_id = $1 AND event = 'CONFIRMATION' AND created_at > now() - interval '1 day'
ORDER BY created_at DESC OFFSET $2 LIMIT 1;
