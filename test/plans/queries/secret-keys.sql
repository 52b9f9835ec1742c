-- db/secret-keys.ts

-- forgetOtherKeys

UPDATE /* forgetOtherKeys */ installations SET secret_key_ids = ARRAY[$1::text] WHERE only_row;

-- recordSecretKey

SELECT /* recordSecretKey */ ARRAY(SELECT unnest(secret_key_ids) EXCEPT SELECT unnest($1::text[])) AS unknown FROM installations;

UPDATE /* recordSecretKey */ installations SET secret_key_ids = CASE
  WHEN $1 = ANY(secret_key_ids) THEN secret_key_ids ELSE secret_key_ids || $2::text END
WHERE only_row AND secret_key_ids <@ $3::text[] RETURNING 1;

-- someSecretOfOldVersion

SELECT /* someSecretOfOldVersion */ substring(payload::text FROM '"sealed": "(s1[.][0-9a-f]{12}[.][^"]+)"') AS sealed FROM payloads
WHERE (SELECT secret_key_ids = '{}' FROM installations)
  AND payload::text LIKE '%"sealed": "s1.%' LIMIT 1;
