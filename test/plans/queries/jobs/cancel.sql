-- db/jobs/cancel.ts

-- cancelJob

DELETE /* cancelJob */ FROM run_requests WHERE job_id = $1;

SELECT /* cancelJob */ FROM schedules WHERE workflow_id = $1 FOR UPDATE;
