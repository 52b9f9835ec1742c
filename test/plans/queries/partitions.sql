-- db/partitions.ts

-- changePartitions

SELECT /* changePartitions */ pg_advisory_xact_lock(hashtext($1));

-- partitionsBefore

SELECT /* partitionsBefore */ right(relname,
  8) AS day FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = $1::regclass AND relname ~ ('^' || $2::text || '_[0-9]{8}$')
  AND to_date(right(relname, 8),
    'YYYYMMDD') + 1 <= now() AT TIME ZONE 'UTC' - make_interval(days => $3)
ORDER BY relname;
