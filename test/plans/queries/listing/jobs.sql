-- db/listing/jobs.ts

-- countJobs

select count(*)::integer
from ((SELECT 1 FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' LIMIT $3)) AS counted /* countJobs */;

select count(*)::integer
from (SELECT * FROM ((SELECT 1 FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' LIMIT $3) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $4 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($5::text[])) LIMIT $6) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($8::text[])) LIMIT $9) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $10 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($11::text[])) LIMIT $12) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($14::text[])) LIMIT $15) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $16 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($17::text[])) LIMIT $18) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($20::text[])) LIMIT $21) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $22 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($23::text[])) LIMIT $24) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $25 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($26::text[])) LIMIT $27) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $28 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($29::text[])) LIMIT $30) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $31 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($32::text[])) LIMIT $33)) AS jobs LIMIT $34) AS counted /* countJobs */;

select count(*)::integer
from (SELECT 1 FROM (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[])
  AND user_id = $2
 
  AND deleted_at IS NULL) AS asked CROSS JOIN LATERAL ((SELECT 1 FROM jobs_other AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($3::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= '019acd55-0000-0000-0000-000000000000' LIMIT $4)) AS of_one LIMIT $5) AS counted /* countJobs */;

select count(*)::integer
from (SELECT 1 FROM (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[])
  AND user_id = $2
 
  AND deleted_at IS NULL) AS asked CROSS JOIN LATERAL (SELECT * FROM ((SELECT 1 FROM jobs_other AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($3::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' LIMIT $4) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($5::text[])) LIMIT $6) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($7::text[])) LIMIT $8) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($9::text[])) LIMIT $10) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($11::text[])) LIMIT $12) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($13::text[])) LIMIT $14) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($15::text[])) LIMIT $16) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($17::text[])) LIMIT $18) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($19::text[])) LIMIT $20) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($21::text[])) LIMIT $22) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."status" = ANY($23::text[])) LIMIT $24)) AS jobs LIMIT $25) AS of_one LIMIT $26) AS counted /* countJobs */;

-- countJobsByWorkflow

select asked.id, count(*)::integer
from unnest($1::text[]::uuid[]) AS asked (id) CROSS JOIN LATERAL ((SELECT 1 FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= '019acd55-0000-0000-0000-000000000000' LIMIT $2)) AS counted group by asked.id /* countJobsByWorkflow */;

select asked.id, count(*)::integer
from unnest($1::text[]::uuid[]) AS asked (id) CROSS JOIN LATERAL (SELECT * FROM ((SELECT 1 FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' LIMIT $2) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $3) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $4) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $5) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $6) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $7) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $8) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $9) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $10) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $11) UNION ALL (SELECT 1 FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id LIMIT $12)) AS jobs LIMIT $13) AS counted group by asked.id /* countJobsByWorkflow */;

-- listJobs

select "id", "workflow_id", "trigger", "status", "attempt", "scheduled_at", "started_at",
  "completed_at", "exit_code", "failure_reason", "failure_message", "log_line_count", "log_open"
from (((SELECT * FROM jobs_other AS jobs WHERE (("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $2) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3))) "jobs"
order by "jobs"."id" asc
limit $4 /* listJobs */;

select "id", "workflow_id", "trigger", "status", "attempt", "scheduled_at", "started_at",
  "completed_at", "exit_code", "failure_reason", "failure_message", "log_line_count", "log_open"
from ((SELECT * FROM ((SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $2) ORDER BY id ASC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $4 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $5) ORDER BY id ASC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $8) ORDER BY id ASC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $10 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $11) ORDER BY id ASC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $14) ORDER BY id ASC LIMIT $15) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $16 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $17) ORDER BY id ASC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $20) ORDER BY id ASC LIMIT $21) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $22 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $23) ORDER BY id ASC LIMIT $24) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $25 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $26) ORDER BY id ASC LIMIT $27) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $28 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $29) ORDER BY id ASC LIMIT $30) UNION ALL (SELECT * FROM jobs_other AS jobs WHERE (("jobs"."user_id" = $31 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $32) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $33)) AS jobs ORDER BY id ASC LIMIT $34)) "jobs"
order by "jobs"."id" asc
limit $35 /* listJobs */;

select "id", "workflow_id", "trigger", "status", "attempt", "scheduled_at", "started_at",
  "completed_at", "exit_code", "failure_reason", "failure_message", "log_line_count", "log_open"
from ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $3 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $5 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $9 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $11 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $14) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $15 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $16) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $17 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $20) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $21 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $22)) AS jobs ORDER BY id DESC LIMIT $23)) "jobs"
order by "jobs"."id" desc
limit $24 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from (((SELECT * FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3))) "jobs"
order by "jobs"."id" asc
limit $4 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from (((SELECT * FROM jobs_other AS jobs WHERE (("jobs"."user_id" = $1 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $2) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $3))) "jobs"
order by "jobs"."id" asc
limit $4 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from ((SELECT * FROM ((SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($2::text[])) ORDER BY id ASC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $4 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($5::text[])) ORDER BY id ASC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($8::text[])) ORDER BY id ASC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $10 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($11::text[])) ORDER BY id ASC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($14::text[])) ORDER BY id ASC LIMIT $15) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $16 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($17::text[])) ORDER BY id ASC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($20::text[])) ORDER BY id ASC LIMIT $21) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $22 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($23::text[])) ORDER BY id ASC LIMIT $24) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $25 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($26::text[])) ORDER BY id ASC LIMIT $27) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $28 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($29::text[])) ORDER BY id ASC LIMIT $30) UNION ALL (SELECT * FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $31 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null))
  and "jobs"."status" = ANY($32::text[])) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $33)) AS jobs ORDER BY id ASC LIMIT $34)) "jobs"
order by "jobs"."id" asc
limit $35 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from ((SELECT * FROM ((SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $2) ORDER BY id ASC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $4 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $5) ORDER BY id ASC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $8) ORDER BY id ASC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $10 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $11) ORDER BY id ASC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $14) ORDER BY id ASC LIMIT $15) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $16 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $17) ORDER BY id ASC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $20) ORDER BY id ASC LIMIT $21) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $22 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $23) ORDER BY id ASC LIMIT $24) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $25 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $26) ORDER BY id ASC LIMIT $27) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE (("jobs"."user_id" = $28 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $29) ORDER BY id ASC LIMIT $30) UNION ALL (SELECT * FROM jobs_other AS jobs WHERE (("jobs"."user_id" = $31 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  and "jobs"."id" > $32) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $33)) AS jobs ORDER BY id ASC LIMIT $34)) "jobs"
order by "jobs"."id" asc
limit $35 /* listJobs */;

select "id", "workflow_id", "user_id", "kind", "trigger", "status", "generation", "attempt",
  "uncounted_attempts", "adoptions", "scheduled_at", "created_at", "updated_at", "queued_at",
  "started_at", "completed_at", "lease_token", "lease_owner", "lease_expires_at", "engine_id",
  "cancel_requested_at", "exit_code", "failure_reason", "failure_message", "log_line_count",
  "log_attempt", "log_open", "requested_by", "requested_with", "lost_attempt", "after_failure",
  "awaited", "retries", "retry_at"
from ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE ("jobs"."user_id" = $1
  and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id" and "workflows"."deleted_at" is null)))
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $3 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $5 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $7 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $9 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $11 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $13 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $14) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $15 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $16) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $17 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $19 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $20) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."user_id" = $21 and exists (select 1
from "workflows"
where ("workflows"."id" = "jobs"."workflow_id"
  and "workflows"."deleted_at" is null))) ORDER BY id DESC LIMIT $22)) AS jobs ORDER BY id DESC LIMIT $23)) "jobs"
order by "jobs"."id" desc
limit $24 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."trigger", "page"."status", "page"."attempt",
  "page"."scheduled_at", "page"."started_at", "page"."completed_at", "page"."exit_code",
  "page"."failure_reason", "page"."failure_message", "page"."log_line_count", "page"."log_open"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id DESC LIMIT $3))) "page"
order by page.id DESC
limit $4 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."trigger", "page"."status", "page"."attempt",
  "page"."scheduled_at", "page"."started_at", "page"."completed_at", "page"."exit_code",
  "page"."failure_reason", "page"."failure_message", "page"."log_line_count", "page"."log_open"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $13)) AS jobs ORDER BY id DESC LIMIT $14)) "page"
order by page.id DESC
limit $15 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id DESC LIMIT $3))) "page"
order by page.id DESC
limit $4 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral (((SELECT * FROM jobs_other AS jobs WHERE ("jobs"."workflow_id" = asked.id
  and "jobs"."id" > $3) AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id ASC LIMIT $4))) "page"
order by page.id ASC
limit $5 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral ((SELECT * FROM ((SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $3) ORDER BY id ASC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $5) ORDER BY id ASC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $7) ORDER BY id ASC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $9) ORDER BY id ASC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $11) ORDER BY id ASC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $13) ORDER BY id ASC LIMIT $14) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $15) ORDER BY id ASC LIMIT $16) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $17) ORDER BY id ASC LIMIT $18) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $19) ORDER BY id ASC LIMIT $20) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $21) ORDER BY id ASC LIMIT $22) UNION ALL (SELECT * FROM jobs_other AS jobs WHERE ("jobs"."workflow_id" = asked.id and "jobs"."id" > $23) AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id ASC LIMIT $24)) AS jobs ORDER BY id ASC LIMIT $25)) "page"
order by page.id ASC
limit $26 /* listJobs */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from (SELECT id FROM workflows WHERE id = ANY($1::text[]::uuid[]) AND user_id = $2
 
  AND deleted_at IS NULL) AS asked
cross join lateral ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $12) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $13)) AS jobs ORDER BY id DESC LIMIT $14)) "page"
order by page.id DESC
limit $15 /* listJobs */;

-- listJobsByWorkflow

select "page"."id", "page"."workflow_id", "page"."trigger", "page"."status", "page"."attempt",
  "page"."scheduled_at", "page"."started_at", "page"."completed_at", "page"."exit_code",
  "page"."failure_reason", "page"."failure_message", "page"."log_line_count", "page"."log_open"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral (((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id DESC LIMIT $2))) "page" /* listJobsByWorkflow */;

select "page"."id", "page"."workflow_id", "page"."trigger", "page"."status", "page"."attempt",
  "page"."scheduled_at", "page"."started_at", "page"."completed_at", "page"."exit_code",
  "page"."failure_reason", "page"."failure_message", "page"."log_line_count", "page"."log_open"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $12)) AS jobs ORDER BY id DESC LIMIT $13)) "page" /* listJobsByWorkflow */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral (((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id
  AND jobs.id >= '019acd55-0000-0000-0000-000000000000'
  AND jobs.id <= '019acd55-0000-0000-0000-000000000000' ORDER BY id DESC LIMIT $2))) "page" /* listJobsByWorkflow */;

select "page"."id", "page"."workflow_id", "page"."user_id", "page"."kind", "page"."trigger",
  "page"."status", "page"."generation", "page"."attempt", "page"."uncounted_attempts",
  "page"."adoptions", "page"."scheduled_at", "page"."created_at", "page"."updated_at",
  "page"."queued_at", "page"."started_at", "page"."completed_at", "page"."lease_token",
  "page"."lease_owner", "page"."lease_expires_at", "page"."engine_id",
  "page"."cancel_requested_at", "page"."exit_code", "page"."failure_reason",
  "page"."failure_message", "page"."log_line_count", "page"."log_attempt", "page"."log_open",
  "page"."requested_by", "page"."requested_with", "page"."lost_attempt", "page"."after_failure",
  "page"."awaited", "page"."retries", "page"."retry_at"
from unnest($1::text[]::uuid[]) AS asked (id)
cross join lateral ((SELECT * FROM ((SELECT * FROM jobs_other AS jobs WHERE "jobs"."workflow_id" = asked.id AND jobs.id >= '019acd55-0000-0000-0000-000000000000' AND jobs.id <= 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY id DESC LIMIT $2) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $3) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $4) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $5) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $6) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $7) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $8) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $9) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $10) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $11) UNION ALL (SELECT * FROM jobs_20261129 AS jobs WHERE "jobs"."workflow_id" = asked.id ORDER BY id DESC LIMIT $12)) AS jobs ORDER BY id DESC LIMIT $13)) "page" /* listJobsByWorkflow */;
