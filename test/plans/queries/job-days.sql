-- db/job-days.ts

-- makeJobDay

SELECT /* makeJobDay */ 1 FROM pg_class WHERE relname = $1;

-- readDays

SELECT /* readDays */ relname AS name,
  (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms,
  (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'jobs_other'::regclass
    AND conname = 'jobs_other_days') AS bounds
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'jobs'::regclass;
