-- Finds jobs and builds that somebody else than their worker has ended, and whose log's end is still open (log_attempt is negative): the end was to
-- be printed on the bus, and where its printer crashed before that, nobody else did unless somebody followed the log. The scheduling worker now
-- prints it again. The indexes are nearly always empty, and what the hot path writes leaves them alone.
-- Takes, and blocks nobody: reading jobs and builds twice, a minute for ten million.

-- index: finds jobs whose log's end is open
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_open_log ON jobs (id) WHERE log_attempt < 0;

-- index: finds builds whose log's end is open
CREATE INDEX CONCURRENTLY IF NOT EXISTS builds_open_log ON builds (id) WHERE log_attempt < 0;
