-- What somebody's login has brought onto an engine: the image's id, and its name as the author wrote it. There it is for all to find, so it
-- is not everybody's, whatever becomes of the build, and of the workflow, that it was pulled for.
-- Locks nothing that is in use. Takes, and blocks nobody: reading each build with its payload, a minute for a million. Builds of the old
-- version that complete meanwhile may be left out: stop its workflow workers first where logins are used.

-- part: makes the table
CREATE TABLE private_images (
  image_id text NOT NULL,
  image text NOT NULL,
  PRIMARY KEY (image_id, image)
);

-- steps: notes the images of builds with a login
WITH step AS MATERIALIZED (
  SELECT id, workflow_id, generation, image_id FROM builds WHERE id > $1::uuid ORDER BY id LIMIT $2
), noted AS (
  INSERT INTO private_images (image_id, image)
  SELECT DISTINCT image_id, payload->>'image' FROM step JOIN payloads USING (workflow_id, generation)
  WHERE image_id IS NOT NULL AND payload ? 'registry_auth' AND payload ? 'image'
  ON CONFLICT DO NOTHING
)
SELECT id AS position FROM step ORDER BY id DESC LIMIT 1;
