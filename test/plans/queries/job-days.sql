-- db/job-days.ts

-- detachJobDay

SELECT /* detachJobDay */ now() FROM pg_class WHERE relname = $1 AND relispartition;

-- dropDetachedDays

SELECT /* dropDetachedDays */ relname AS name
FROM pg_class CROSS JOIN LATERAL (SELECT obj_description(pg_class.oid, 'pg_class') AS note) AS noted
WHERE relname ~ '^jobs_[0-9]{8}$' AND relkind = 'r' AND NOT relispartition
  AND CASE WHEN starts_with(note, $1) THEN substr(note, $2)::timestamptz END
    <= now() - make_interval(mins => $3)
ORDER BY relname;

-- makeJobDay

SELECT /* makeJobDay */ 1 FROM pg_class WHERE relname = $1;

-- readDays

SELECT /* readDays */ relname AS name,
  (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms,
  (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'jobs_other'::regclass
    AND conname = 'jobs_other_days') AS bounds
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'jobs'::regclass;
