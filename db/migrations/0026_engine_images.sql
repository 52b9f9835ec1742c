-- Which images this installation has pulled onto which engine, under which names, and when one was last used. A workflow worker removes the images
-- that nothing has used for long, and no others. Images that were pulled before this migration are not in the table, so they stay.
-- Locks nothing that is in use. Takes, and blocks nobody: reading builds for an index, seconds for a million.

-- part: makes the table
CREATE TABLE engine_images (
  engine_id text NOT NULL,
  image_id text NOT NULL,
  names text[] NOT NULL,
  pulled_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz NOT NULL DEFAULT now(),
  -- Not before this time does a sweep look again whether the image is needed.
  look_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (engine_id, image_id)
);

-- index: finds the builds that have pinned an image
CREATE INDEX CONCURRENTLY IF NOT EXISTS builds_image ON builds (image_id) WHERE image_id IS NOT NULL;
