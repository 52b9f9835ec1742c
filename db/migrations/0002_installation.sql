-- Which installation this database is: containers carry its id as a label, so that several installations can share an engine.
-- The row is made when it is first asked for, not here: a copy of an empty migrated database is an installation of its own.
-- Locks nothing: all is new.

CREATE TABLE installations (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  id uuid NOT NULL
);
