-- db/installation.ts

-- getInstallation

insert into "installations" ("only_row", "id")
values (default, $1)
on conflict do nothing;

select "id"
from "installations";
