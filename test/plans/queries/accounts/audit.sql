-- db/accounts/audit.ts

-- countAuditEvents

select count(*)::integer
from (select 1 as "one"
from "audit_events"
limit $1) "counted" /* countAuditEvents */;

select count(*)::integer
from (select 1 as "one"
from "audit_events"
where "audit_events"."user_id" = $1
limit $2) "counted" /* countAuditEvents */;

-- findAuditEvents

select "id", "at", "action", "outcome", "code", "user_id", "actor_id", "token_id", "token_kind",
  "token_name", "address", "object_id", "changes", "count"
from "audit_events"
where ("audit_events"."id" = ANY($1::uuid[])
  and "audit_events"."user_id" = $2) /* findAuditEvents */;

-- listAuditEvents

select "id", "at", "action", "outcome", "code", "user_id", "actor_id", "token_id", "token_kind",
  "token_name", "address", "object_id", "changes", "count"
from "audit_events"
where "audit_events"."id" < $1
order by "audit_events"."id" desc
limit $2;

select "id", "at", "action", "outcome", "code", "user_id", "actor_id", "token_id", "token_kind",
  "token_name", "address", "object_id", "changes", "count"
from "audit_events"
where "audit_events"."user_id" = $1
order by "audit_events"."id" desc
limit $2;

select "id", "at", "action", "outcome", "code", "user_id", "actor_id", "token_id", "token_kind",
  "token_name", "address", "object_id", "changes", "count"
from "audit_events"
where ("audit_events"."user_id" = $1 and "audit_events"."id" > $2)
order by "audit_events"."id" asc
limit $3;

-- recordAudit

insert into "audit_events" ("id", "at", "action", "outcome", "code", "user_id", "actor_id",
  "token_id", "token_kind", "token_name", "address", "object_id", "changes", "count")
values ((lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0), 12,
  '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, default, $1, $2, default, $3, default,
  default, default, default, default, default, default, default);

-- removeOldAuditEvents

DELETE /* removeOldAuditEvents */ FROM audit_events WHERE id = ANY(ARRAY(
SELECT id FROM audit_events WHERE id < (lpad(to_hex(greatest(0,
  extract(epoch FROM now() - make_interval(days => $1)) * 1000)::bigint), 12, '0') || repeat('0',
  20))::uuid ORDER BY id LIMIT $2
FOR UPDATE SKIP LOCKED)) RETURNING 1;
