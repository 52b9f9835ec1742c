-- What somebody's login has brought onto an engine: the image's id, and its name as the author wrote it. There it is for all to find, so it
-- is not everybody's, whatever becomes of the build, and of the workflow, that it was pulled for.
CREATE TABLE private_images (
  image_id text NOT NULL,
  image text NOT NULL,
  PRIMARY KEY (image_id, image)
);
INSERT INTO private_images (image_id, image)
  SELECT DISTINCT image_id, payload->>'image' FROM builds JOIN payloads USING (workflow_id, generation)
  WHERE image_id IS NOT NULL AND payload ? 'registry_auth' AND payload ? 'image';
