-- The name with the digest under which a build's image is known to its registry, so that an engine that has not the image yet pulls this
-- very one, also when the tag has moved. NULL: built here, imported, or of a build from before this.
-- Locks for a moment: builds (ACCESS EXCLUSIVE). A column without a default rewrites nothing.

ALTER TABLE builds ADD COLUMN image_digest text;
