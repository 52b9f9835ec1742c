-- db/notifications.ts

-- anyNotifications

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where "notifications"."id" = ANY($1::uuid[]) /* anyNotifications */;

-- countNotifications

select count(*)::integer
from (select 1 as "one"
from "notifications"
where ("notifications"."user_id" = $1 and "notifications"."read_at" is null)
limit $2) "counted" /* countNotifications */;

-- listNotifications

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where "notifications"."user_id" = $1
order by "notifications"."id" desc
limit $2 /* listNotifications */;

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where ("notifications"."user_id" = $1 and "notifications"."id" > $2)
order by "notifications"."id" asc
limit $3 /* listNotifications */;

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where ("notifications"."user_id" = $1 and "notifications"."read_at" is null)
order by "notifications"."id" desc
limit $2 /* listNotifications */;

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where (("notifications"."user_id" = $1 and "notifications"."read_at" is null)
  and "notifications"."id" > $2)
order by "notifications"."id" asc
limit $3 /* listNotifications */;

-- markNotificationsRead

select "id"
from "notifications"
where ("notifications"."id" = ANY($1::uuid[]) and "notifications"."user_id" = $2)
order by "notifications"."id"
for update /* markNotificationsRead */;

update "notifications"
set "read_at" = coalesce("notifications"."read_at", now())
where "notifications"."id" = ANY($1::uuid[])
returning "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at" /* markNotificationsRead */;

-- markSomeRead

UPDATE /* markSomeRead */ notifications SET read_at = now() WHERE id = ANY(ARRAY(
SELECT id FROM notifications WHERE (user_id, id) >= ($1::uuid, $2::uuid)
  AND (user_id, id) <= ($3::uuid, $4::uuid) AND read_at IS NULL
ORDER BY user_id, id LIMIT $5 FOR UPDATE)) RETURNING 1;

-- markUpTo

SELECT /* markUpTo */ (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 2), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid AS id;

-- notificationsAfter

select "next"."id", "next"."user_id", "next"."kind", "next"."workflow_id", "next"."workflow_name",
  "next"."job_id", "next"."detail", "next"."read_at", "next"."created_at", "asked"
from unnest($1::uuid[], $2::uuid[]) AS asked (user_id, after)
cross join lateral (select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id",
  "detail", "read_at", "created_at", asked.after as "asked"
from "notifications"
where "notifications"."user_id" = asked.user_id AND "notifications"."id" > asked.after
order by "notifications"."id"
limit $3) "next" /* notificationsAfter */;

-- notificationsOf

select "id", "user_id", "kind", "workflow_id", "workflow_name", "job_id", "detail", "read_at",
  "created_at"
from "notifications"
where ("notifications"."id" = ANY($1::uuid[])
  and "notifications"."user_id" = $2) /* notificationsOf */;

-- notify

INSERT /* notify */ INTO notifications (id, user_id, kind, workflow_id, workflow_name, job_id,
  detail)
SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + CASE WHEN job_id IS NULL THEN 1 ELSE 0 END), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid, workflows.user_id, u.kind, workflows.id, workflows.name, u.job_id, u.detail
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[]) AS u (kind, workflow_id, job_id, detail)
  JOIN workflows ON workflows.id = ANY(ARRAY[u.workflow_id]) JOIN users ON users.id = ANY(ARRAY[workflows.user_id])
WHERE notification_preference = 'ALL' OR notification_preference = 'ALERTS'
  AND u.kind <> 'JOB_COMPLETED'
RETURNING id, user_id;

-- removeOldNotifications

DELETE /* removeOldNotifications */ FROM notifications WHERE id = ANY(ARRAY(
SELECT id FROM notifications WHERE id < (lpad(to_hex(greatest(0,
  extract(epoch FROM now() - make_interval(days => $1)) * 1000)::bigint), 12, '0') || repeat('0',
  20))::uuid ORDER BY id LIMIT $2
FOR UPDATE SKIP LOCKED)) RETURNING 1;

-- setNotificationPreference

update "users"
set "notification_preference" = $1
where "users"."id" = $2
returning "id", "email", "password_hash", "created_at", "notification_preference", "administrator",
  "disabled_at" /* setNotificationPreference */;
