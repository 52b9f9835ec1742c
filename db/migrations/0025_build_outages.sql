-- A build waits out an outage of its registry or engine. Until its next attempt it is QUEUED and holds no place of a worker, so the row says when
-- that attempt is due (retry_at), what the build waits for, and how often it has waited. Processes of the version before claim such a build early.
-- Locks for a moment: builds (ACCESS EXCLUSIVE).

-- part: adds what builds wait for
ALTER TABLE builds
  ADD COLUMN retry_at timestamptz,
  ADD COLUMN waits integer NOT NULL DEFAULT 0,
  ADD COLUMN waits_for text,
  ADD COLUMN awaits_engine boolean NOT NULL DEFAULT false;
