-- db/accounts/tokens.ts

-- createApiToken

select count(*) as count
from "tokens"
where ("tokens"."user_id" = $1 and "tokens"."kind" = $2);;

-- findApiToken

select "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope"
from "tokens"
where ("tokens"."id" = $1 and "tokens"."user_id" = $2 and "tokens"."kind" = $3) /* findApiToken */;

-- findIdentities

select "tokens"."id", encode("tokens"."hash", 'hex'), "tokens"."kind", "tokens"."scope",
  "tokens"."name", "tokens"."last_used_at", "users"."id", "users"."email", "users"."password_hash",
  "users"."created_at", "users"."notification_preference", "users"."administrator",
  "users"."disabled_at"
from "tokens"
inner join "users" on "users"."id" = "tokens"."user_id"
where ("tokens"."hash" = ANY($1::text[]::bytea[]) and ("users"."disabled_at" is null
  and ("tokens"."expires_at" is null or "tokens"."expires_at" > now()))) /* findIdentities */;

-- findValidTokens

select "tokens"."id"
from "tokens"
inner join "users" on "users"."id" = "tokens"."user_id"
where ("tokens"."id" = ANY($1::uuid[]) and ("users"."disabled_at" is null
  and ("tokens"."expires_at" is null or "tokens"."expires_at" > now()))) /* findValidTokens */;

-- insertToken

insert into "tokens" ("id", "user_id", "kind", "name", "hash", "created_at", "last_used_at",
  "expires_at", "address", "user_agent", "scope")
values ($1, $2, $3, $4, $5, default, default, $6, $7, $8, default)
returning "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope" /* insertToken */;

insert into "tokens" ("id", "user_id", "kind", "name", "hash", "created_at", "last_used_at",
  "expires_at", "address", "user_agent", "scope")
values ($1, $2, $3, $4, $5, default, default, $6, default, default, $7)
returning "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope" /* insertToken */;

insert into "tokens" ("id", "user_id", "kind", "name", "hash", "created_at", "last_used_at",
  "expires_at", "address", "user_agent", "scope")
values ($1, $2, $3, $4, $5, default, default, default, default, default, default)
returning "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope" /* insertToken */;

-- isTokenValid

select "tokens"."id"
from "tokens"
inner join "users" on "users"."id" = "tokens"."user_id"
where ("tokens"."id" = $1 and ("users"."disabled_at" is null
  and ("tokens"."expires_at" is null or "tokens"."expires_at" > now()))) /* isTokenValid */;

-- listApiTokens

select "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope"
from "tokens"
where ("tokens"."user_id" = ANY($1::uuid[]) and "tokens"."kind" = $2)
order by "tokens"."id" /* listApiTokens */;

-- markTokensUsed

update "tokens"
set "last_used_at" = now()
where "tokens"."id" = ANY(ARRAY((select "id"
from "tokens"
where ("tokens"."id" = ANY($1::uuid[])
  and ("tokens"."last_used_at" is null or "tokens"."last_used_at" < now() - $2 * interval '1 second'))
for no key update skip locked))) /* markTokensUsed */;

-- revokeToken

delete
from "tokens"
where ("tokens"."id" = $1 and "tokens"."user_id" = $2 and "tokens"."kind" = $3)
returning "id", "user_id", "kind", "name", "hash", "created_at", "last_used_at", "expires_at",
  "address", "user_agent", "scope" /* revokeToken */;
