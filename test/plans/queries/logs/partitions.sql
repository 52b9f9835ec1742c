-- db/logs/partitions.ts

-- dropLogDay

SELECT /* dropLogDay */ 1 FROM log_chunks_other WHERE source_id >= $1 AND source_id < $2 LIMIT 1;

SELECT /* dropLogDay */ 1 FROM pg_class WHERE relname = $1;

-- makeLogPartitions

SELECT /* makeLogPartitions */ 1 FROM pg_class WHERE relname = $1;
