-- db/accounts/known-addresses.ts

-- noteAddress

delete
from "known_addresses"
where ("known_addresses"."user_id" = $1 and "known_addresses"."address" not in (select "address"
from "known_addresses"
where "known_addresses"."user_id" = $2
order by "known_addresses"."last_used_at" desc
limit $3));

insert into "known_addresses" ("user_id", "address", "last_used_at")
values ($1, $2, default)
on conflict ("user_id","address") do update
set "last_used_at" = now();
