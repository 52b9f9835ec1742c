-- An attempt's number is never used again. Attempts that were given back before anything of them had started are counted apart, so that they cost
-- nothing. And a schedule says by itself that somebody asked for a run: a request that commits between the snapshot of the statement that hands
-- out slots and its lock of the schedule is seen in the locked row alone.
-- Locks for a moment: jobs (ACCESS EXCLUSIVE), builds (ACCESS EXCLUSIVE), schedules (ACCESS EXCLUSIVE). The new columns are constants, so no
-- row is rewritten. Takes, and blocks nobody: a row of schedules for each workflow that waits for a requested run, some hundreds at a time.

-- part: adds the uncounted attempts of jobs
ALTER TABLE jobs ADD COLUMN uncounted_attempts integer NOT NULL DEFAULT 0;

-- part: adds the uncounted attempts of builds
ALTER TABLE builds ADD COLUMN uncounted_attempts integer NOT NULL DEFAULT 0;

-- part: adds the mark of schedules
ALTER TABLE schedules ADD COLUMN requested boolean NOT NULL DEFAULT false;

-- steps: marks the schedules of workflows that wait for a requested run
WITH step AS MATERIALIZED (
  SELECT job_id, workflow_id FROM run_requests WHERE job_id > $1::uuid ORDER BY job_id LIMIT $2
), marked AS (
  UPDATE schedules SET requested = true WHERE workflow_id IN (SELECT workflow_id FROM step) AND NOT requested
)
SELECT job_id AS position FROM step ORDER BY job_id DESC LIMIT 1;
