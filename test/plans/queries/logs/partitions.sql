-- db/logs/partitions.ts

-- changePartitions

SELECT /* changePartitions */ pg_advisory_xact_lock(hashtext('log_chunks partitions'));

-- logPartitionsBefore

SELECT /* logPartitionsBefore */ to_date(right(relname, 8),
  'YYYYMMDD')::text AS day FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'log_chunks'::regclass AND relname ~ '^log_chunks_[0-9]{8}$'
  AND to_date(right(relname, 8),
    'YYYYMMDD') + 1 <= now() AT TIME ZONE 'UTC' - make_interval(days => $1)
ORDER BY relname;

-- makeLogPartitions

SELECT /* makeLogPartitions */ 1 FROM pg_class WHERE relname = $1;
