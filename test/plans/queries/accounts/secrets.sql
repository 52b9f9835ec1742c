-- db/accounts/secrets.ts

-- changeSecrets

SELECT /* changeSecrets */ id FROM workflows WHERE id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE;

SELECT /* changeSecrets */ workflow_id, generation, payload FROM payloads
WHERE workflow_id = ANY($1::uuid[]) AND payload::text LIKE '%"sealed"%';

SELECT /* changeSecrets */ workflow_id, token FROM pings WHERE workflow_id = ANY($1::uuid[]);

UPDATE /* changeSecrets */ payloads SET payload = $1::jsonb WHERE workflow_id = $2
  AND generation = $3;

UPDATE /* changeSecrets */ pings SET token = $1 WHERE workflow_id = $2;
