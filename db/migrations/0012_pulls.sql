-- Who pulled which image. A login's image is noted before its pull, so that no crash between the two leaves it on the engine for all; and an
-- image that was pulled for a user stays usable for that user while its registry does not answer.
-- Locks for a moment: users (SHARE ROW EXCLUSIVE), for a foreign key of an empty table.

-- A pull with a login that is under way, or whose end nobody saw. image_id_before: what the name stood for on the engine before, which the
-- login has not brought. puller: the build or job that pulls.
CREATE TABLE private_pulls (
  puller uuid NOT NULL,
  image text NOT NULL,
  image_id_before text,
  started_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (puller, image)
);

-- What the registry has given for a user. image: registry and repository.
CREATE TABLE pulled_images (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  image_id text NOT NULL,
  image text NOT NULL,
  pulled_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, image_id, image)
);
