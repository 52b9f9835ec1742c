-- db/jobs/retention.ts

-- removeOldJobs

SELECT /* removeOldJobs */ id FROM jobs_other AS jobs WHERE id > $1
  AND id < (lpad(to_hex(greatest(0,
  extract(epoch FROM now() - make_interval(days => $2)) * 1000)::bigint), 12, '0') || repeat('0',
  20))::uuid AND (completed_at IS NOT NULL AND completed_at <= now() - make_interval(days => $3))
ORDER BY id LIMIT $4;
