-- db/alert-channels/lookup.ts

-- alertChannelsOf

select "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log", "state",
  "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token", "lease_owner",
  "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at", "first_failed_at",
  "failure_count", "rejection_count"
from "alert_channels"
where ("alert_channels"."id" = ANY($1::uuid[])
  and "alert_channels"."user_id" = $2) /* alertChannelsOf */;

-- alertDeliveriesOf

select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name", "job_id",
  "incident_id", "detail", "status", "attempt", "last_status", "last_error", "created_at",
  "delivered_at"
from "alert_deliveries"
where ("alert_deliveries"."id" = ANY($1::uuid[])
  and "alert_deliveries"."user_id" = $2) /* alertDeliveriesOf */;

-- countDeliveriesByChannel

select asked.id, count(*)::integer
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select 1 as "one"
from "alert_deliveries"
where "alert_deliveries"."channel_id" = asked.id
limit $2) "counted" group by asked.id /* countDeliveriesByChannel */;

select asked.id, count(*)::integer
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select 1 as "one"
from "alert_deliveries"
where ("alert_deliveries"."channel_id" = asked.id and "alert_deliveries"."status" = $2)
limit $3) "counted" group by asked.id /* countDeliveriesByChannel */;

-- incidentsOf

select "id", "workflow_id", "user_id", "job_id", "opened_at", "alerted_at", "resolved_at",
  "resolution", "failures"
from "incidents"
where ("incidents"."id" = ANY($1::uuid[]) and "incidents"."user_id" = $2
  and NOT EXISTS (SELECT FROM workflows purged WHERE purged.id = "incidents"."workflow_id"
  AND purged.purge_requested_at IS NOT NULL)) /* incidentsOf */;

-- listAlertChannels

select "id", "user_id", "name", "kind", "config", "events", "is_default", "include_log", "state",
  "disabled_reason", "confirmation", "created_at", "deleted_at", "lease_token", "lease_owner",
  "lease_expires_at", "retry_at", "attempted_at", "hold_until", "digested_at", "first_failed_at",
  "failure_count", "rejection_count"
from "alert_channels"
where ("alert_channels"."user_id" = ANY($1::uuid[])
  and "alert_channels"."deleted_at" is null) /* listAlertChannels */;

-- listDeliveriesByChannel

select "page"."id", "page"."channel_id", "page"."user_id", "page"."event", "page"."workflow_id",
  "page"."workflow_name", "page"."job_id", "page"."incident_id", "page"."detail", "page"."status",
  "page"."attempt", "page"."last_status", "page"."last_error", "page"."created_at",
  "page"."delivered_at"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name",
  "job_id", "incident_id", "detail", "status", "attempt", "last_status", "last_error",
  "created_at", "delivered_at"
from "alert_deliveries"
where (("alert_deliveries"."channel_id", "alert_deliveries"."id") >= (asked.id, $2::uuid)
  and ("alert_deliveries"."channel_id", "alert_deliveries"."id") < (asked.id, coalesce($3::uuid,
  $4::uuid)) and "alert_deliveries"."status" = $5)
order by "alert_deliveries"."channel_id" desc, "alert_deliveries"."id" desc
limit $6) "page" /* listDeliveriesByChannel */;

select "page"."id", "page"."channel_id", "page"."user_id", "page"."event", "page"."workflow_id",
  "page"."workflow_name", "page"."job_id", "page"."incident_id", "page"."detail", "page"."status",
  "page"."attempt", "page"."last_status", "page"."last_error", "page"."created_at",
  "page"."delivered_at"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name",
  "job_id", "incident_id", "detail", "status", "attempt", "last_status", "last_error",
  "created_at", "delivered_at"
from "alert_deliveries"
where (("alert_deliveries"."channel_id", "alert_deliveries"."id") >= (asked.id, $2::uuid)
  and ("alert_deliveries"."channel_id", "alert_deliveries"."id") < (asked.id, coalesce($3::uuid,
  $4::uuid)))
order by "alert_deliveries"."channel_id" desc, "alert_deliveries"."id" desc
limit $5) "page" /* listDeliveriesByChannel */;

select "page"."id", "page"."channel_id", "page"."user_id", "page"."event", "page"."workflow_id",
  "page"."workflow_name", "page"."job_id", "page"."incident_id", "page"."detail", "page"."status",
  "page"."attempt", "page"."last_status", "page"."last_error", "page"."created_at",
  "page"."delivered_at"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name",
  "job_id", "incident_id", "detail", "status", "attempt", "last_status", "last_error",
  "created_at", "delivered_at"
from "alert_deliveries"
where (("alert_deliveries"."channel_id", "alert_deliveries"."id") >= (asked.id, $2::uuid)
  and ("alert_deliveries"."channel_id", "alert_deliveries"."id") < (asked.id, coalesce(NULL::uuid,
  $3::uuid)) and "alert_deliveries"."status" = $4)
order by "alert_deliveries"."channel_id" desc, "alert_deliveries"."id" desc
limit $5) "page" /* listDeliveriesByChannel */;

select "page"."id", "page"."channel_id", "page"."user_id", "page"."event", "page"."workflow_id",
  "page"."workflow_name", "page"."job_id", "page"."incident_id", "page"."detail", "page"."status",
  "page"."attempt", "page"."last_status", "page"."last_error", "page"."created_at",
  "page"."delivered_at"
from unnest($1::uuid[]) AS asked (id)
cross join lateral (select "id", "channel_id", "user_id", "event", "workflow_id", "workflow_name",
  "job_id", "incident_id", "detail", "status", "attempt", "last_status", "last_error",
  "created_at", "delivered_at"
from "alert_deliveries"
where (("alert_deliveries"."channel_id", "alert_deliveries"."id") >= (asked.id, $2::uuid)
  and ("alert_deliveries"."channel_id", "alert_deliveries"."id") < (asked.id, coalesce(NULL::uuid,
  $3::uuid)))
order by "alert_deliveries"."channel_id" desc, "alert_deliveries"."id" desc
limit $4) "page" /* listDeliveriesByChannel */;

-- openIncidents

select "id", "workflow_id", "user_id", "job_id", "opened_at", "alerted_at", "resolved_at",
  "resolution", "failures"
from "incidents"
where ("incidents"."workflow_id" = ANY($1::uuid[])
  and "incidents"."resolved_at" is null) /* openIncidents */;

-- ownAlertChannels

select "workflow_alert_channels"."workflow_id", "chosen"."id", "chosen"."user_id", "chosen"."name",
  "chosen"."kind", "chosen"."config", "chosen"."events", "chosen"."is_default",
  "chosen"."include_log", "chosen"."state", "chosen"."disabled_reason", "chosen"."confirmation",
  "chosen"."created_at", "chosen"."deleted_at", "chosen"."lease_token", "chosen"."lease_owner",
  "chosen"."lease_expires_at", "chosen"."retry_at", "chosen"."attempted_at", "chosen"."hold_until",
  "chosen"."digested_at", "chosen"."first_failed_at", "chosen"."failure_count",
  "chosen"."rejection_count"
from "workflow_alert_channels"
cross join lateral (select "id", "user_id", "name", "kind", "config", "events", "is_default",
  "include_log", "state", "disabled_reason", "confirmation", "created_at", "deleted_at",
  "lease_token", "lease_owner", "lease_expires_at", "retry_at", "attempted_at", "hold_until",
  "digested_at", "first_failed_at", "failure_count", "rejection_count"
from "alert_channels"
where ("alert_channels"."id" = ANY(ARRAY["workflow_alert_channels"."channel_id"])
  and "alert_channels"."deleted_at" is null)
limit $1) "chosen"
where "workflow_alert_channels"."workflow_id" = ANY($2::uuid[]) /* ownAlertChannels */;
