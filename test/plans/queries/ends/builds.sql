-- db/ends/builds.ts

-- lockWorkflowsOf

SELECT /* lockWorkflowsOf */ FROM workflows WHERE id = ANY(ARRAY(SELECT workflow_id FROM builds WHERE id = ANY($1::uuid[])))
ORDER BY id FOR NO KEY UPDATE;
