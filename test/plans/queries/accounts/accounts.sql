-- db/accounts/accounts.ts

-- changePassword

delete
from "tokens"
where (("tokens"."user_id" = $1 and "tokens"."kind" = $2) and "tokens"."id" <> $3)
returning "id";

update "users"
set "password_hash" = $1
where ("users"."id" = $2 and "users"."password_hash" = $3 and "users"."disabled_at" is null)
returning "id", "email", "password_hash", "created_at", "notification_preference", "administrator",
  "disabled_at";

-- createUser

SELECT /* createUser */ pg_advisory_xact_lock($1);

insert into "users" ("id", "email", "password_hash", "created_at", "notification_preference",
  "administrator", "disabled_at")
values ($1, $2, $3, default, default, $4, default)
on conflict do nothing
returning "id", "email", "password_hash", "created_at", "notification_preference", "administrator",
  "disabled_at";

select "id"
from "users"
limit $1;

-- disableUser

SELECT /* disableUser */ pg_advisory_xact_lock($1);

delete
from "tokens"
where ("tokens"."user_id" = $1 and "tokens"."kind" = $2)
returning "id";

select "id", "email", "password_hash", "created_at", "notification_preference", "administrator",
  "disabled_at"
from "users"
where lower("users"."email") = $1;

select count(*) as count
from "users"
where ("users"."administrator" and "users"."disabled_at" is null and "users"."id" <> $1);;

update "users"
set "disabled_at" = coalesce("users"."disabled_at", now())
where "users"."id" = $1;

-- enableUser

update "users"
set "disabled_at" = $1
where lower("users"."email") = $2
returning "id";

-- findUserByEmail

select "id", "email", "password_hash", "created_at", "notification_preference", "administrator",
  "disabled_at", EXISTS (SELECT FROM "known_addresses"
    WHERE "user_id" = "id"
  AND "address" = $1)
from "users"
where lower("users"."email") = $2;

-- hasAccounts

select "id"
from "users"
limit $1;

-- listUsers

select "id", "email", "administrator", "created_at", "disabled_at",
  (SELECT max(tokens.last_used_at) FROM tokens WHERE tokens.user_id = users.id)
from "users"
where "users"."id" > $1::uuid
order by "users"."id"
limit $2;

-- setPassword

delete
from "tokens"
where ("tokens"."user_id" = $1 and "tokens"."kind" = $2)
returning "id";

update "users"
set "password_hash" = $1
where lower("users"."email") = $2
returning "id";
