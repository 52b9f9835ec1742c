-- db/installation.ts

-- getInstallation

insert into "installations" ("only_row", "id", "secret_key_ids")
values (default, $1, default)
on conflict do nothing;

select "id"
from "installations";
