-- db/accounts/user-limits.ts

-- checkLimit

SELECT /* checkLimit */ coalesce(sum(stored.bytes), 0) > $1 AS over FROM workflows,
  LATERAL (SELECT sum(bytes) AS bytes FROM payloads WHERE workflow_id = workflows.id) stored WHERE user_id = $2;

SELECT /* checkLimit */ count(*) > $1 AS over FROM builds WHERE user_id = $2
  AND completed_at IS NULL;

SELECT /* checkLimit */ count(*) > $1 AS over FROM payloads WHERE workflow_id = $2;

SELECT /* checkLimit */ count(*) > $1 AS over FROM run_requests WHERE user_id = $2 AND kind = $3;

SELECT /* checkLimit */ count(*) > $1 AS over FROM volumes WHERE user_id = $2;

SELECT /* checkLimit */ greatest(count(*) FILTER (WHERE deleted_at IS NULL),
  ceil(count(*)::numeric / $1)) > $2 AS over FROM workflows WHERE user_id = $3;

-- lockUser

SELECT /* lockUser */ FROM users WHERE id = $1 FOR NO KEY UPDATE;
