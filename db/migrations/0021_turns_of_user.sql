-- The next turn is found by (kind, round, id). With statistics from when there were few turns, PostgreSQL took the index of kind and user in its place, and
-- read and sorted all turns for each one that was taken. The index of a user's turns does without the kind, so that it cannot.
-- Locks for a moment: turns (ACCESS EXCLUSIVE).
-- Takes, and blocks nobody: reading turns twice for the index, a moment.

-- index: finds the last turn of a user
CREATE INDEX CONCURRENTLY IF NOT EXISTS turns_of_user ON turns (user_id, round);

-- part: drops the index of kind and user
DROP INDEX turns_user;
