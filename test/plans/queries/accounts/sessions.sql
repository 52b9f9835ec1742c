-- db/accounts/sessions.ts

-- createSession

delete
from "known_addresses"
where ("known_addresses"."user_id" = $1 and "known_addresses"."address" not in (select "address"
from "known_addresses"
where "known_addresses"."user_id" = $2
order by "known_addresses"."last_used_at" desc
limit $3));

delete
from "tokens"
where (("tokens"."user_id" = $1 and "tokens"."kind" = $2) and "tokens"."id" not in (select "id"
from "tokens"
where (("tokens"."user_id" = $3 and "tokens"."kind" = $4) and "tokens"."expires_at" > now())
order by coalesce("tokens"."last_used_at", "tokens"."created_at") desc, "tokens"."id" desc
limit $5));

insert into "known_addresses" ("user_id", "address", "last_used_at")
values ($1, $2, default)
on conflict ("user_id","address") do update
set "last_used_at" = now();

select "id"
from "users"
where ("users"."id" = $1 and "users"."password_hash" = $2
  and "users"."disabled_at" is null) for no key update;

-- endAllSessions

delete
from "tokens"
where ("tokens"."user_id" = $1 and "tokens"."kind" = $2)
returning "id";

-- endSessions

delete
from "tokens"
where ("tokens"."user_id" = $1 and "tokens"."kind" = $2)
returning "id";

-- listSessions

select "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope"
from "tokens"
where ("tokens"."user_id" = ANY($1::uuid[]) and "tokens"."kind" = $2
  and "tokens"."expires_at" > now())
order by "tokens"."id" desc;
