-- db/logs/read.ts

-- chunksAfter

select "source_id", "first_number", "last_number", "attempt", "lines"
from "log_chunks"
where ("log_chunks"."source_id" = $1
  and "log_chunks"."first_number" >= coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = $2
    AND held.first_number BETWEEN $3 AND $4 AND held.last_number >= $5), $6))
order by "log_chunks"."first_number" asc
limit $7 /* chunksAfter */;

-- chunksOfLogs

select n, source_id, first_number, last_number, attempt, lines, bytes
from (SELECT found.*, sum(octet_length(lines)) OVER (ORDER BY n,
  first_number ASC) AS bytes
    FROM (SELECT asked.n, chunk.* FROM unnest($1::integer[],
  $2::uuid[],
    $3::integer[], $4::integer[]) AS asked (n, source_id, at, count),
  LATERAL (SELECT * FROM log_chunks
    WHERE source_id = asked.source_id
  AND first_number >= coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = asked.source_id
    AND held.first_number BETWEEN asked.at - 11398 AND asked.at AND held.last_number >= asked.at), asked.at) ORDER BY first_number ASC LIMIT asked.count) chunk) found) counted
where bytes - octet_length(lines) < $5
order by n, first_number ASC /* chunksOfLogs */;

select n, source_id, first_number, last_number, attempt, lines, bytes
from (SELECT found.*, sum(octet_length(lines)) OVER (ORDER BY n,
  first_number DESC) AS bytes
    FROM (SELECT asked.n, chunk.* FROM unnest($1::integer[],
  $2::uuid[],
    $3::integer[], $4::integer[]) AS asked (n, source_id, at, count),
  LATERAL (SELECT * FROM log_chunks
    WHERE source_id = asked.source_id
  AND first_number <= CASE WHEN asked.at IS NULL THEN (SELECT tail.first_number FROM log_chunks tail WHERE tail.source_id = asked.source_id
    AND tail.first_number > -11398 + (
      SELECT first_number FROM log_chunks WHERE source_id = asked.source_id ORDER BY first_number DESC LIMIT 1)
    ORDER BY tail.last_number DESC, tail.first_number DESC LIMIT 1) ELSE coalesce((SELECT max(held.first_number) FROM log_chunks held WHERE held.source_id = asked.source_id
    AND held.first_number BETWEEN asked.at - 11398 AND asked.at AND held.last_number >= asked.at), asked.at) END ORDER BY first_number DESC LIMIT asked.count) chunk) found) counted
where bytes - octet_length(lines) < $5
order by n, first_number DESC /* chunksOfLogs */;

-- lastLogNumber

SELECT /* lastLogNumber */ coalesce(max(last_number),
  0) AS last FROM log_chunks WHERE source_id = $1 AND first_number > $2 +
(SELECT first_number FROM log_chunks WHERE source_id = $3 ORDER BY first_number DESC LIMIT 1);
