-- db/logs/read.ts

-- chunksAfter

select "source_id", "first_number", "last_number", "attempt", "lines"
from "log_chunks"
where ("log_chunks"."source_id" = $1
  and "log_chunks"."first_number" >= coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = $2
    AND held.first_number BETWEEN $3 AND $4 AND held.last_number >= $5), $6))
order by "log_chunks"."first_number" asc
limit $7 /* chunksAfter */;

-- chunksBefore

select "source_id", "first_number", "last_number", "attempt", "lines"
from "log_chunks"
where ("log_chunks"."source_id" = $1
  and "log_chunks"."first_number" <= coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = $2
    AND held.first_number BETWEEN $3 AND $4 AND held.last_number >= $5), $6))
order by "log_chunks"."first_number" desc
limit $7 /* chunksBefore */;

-- lastLogNumber

SELECT /* lastLogNumber */ coalesce(max(last_number),
  0) AS last FROM log_chunks WHERE source_id = $1 AND first_number > $2 +
(SELECT first_number FROM log_chunks WHERE source_id = $3 ORDER BY first_number DESC LIMIT 1);
